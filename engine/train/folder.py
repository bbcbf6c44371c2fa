"""The folder of a run."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config.formats import INT8
from engine.errors import InvalidArgumentError
from engine.files import sha256_of_file
from engine.model.retinaface import RetinaFace
from engine.precision.trained.stored import Key, belongs_to, save_trained
from engine.train.checkpoints import Beginning
from engine.train.labels.labelled import LabelledPicture
from engine.train.quantised.network import QuantisedNetwork
from engine.version import project_version
from engine.writing import check_writable, write_file

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "tensorboard")


class RunFolder:
    """Paths of the files of a run.

    Attributes:
        path: of the folder.
        model: the weights, in upstream's layout: those of the epoch with the best average precision; without validation
            labels, of the last. In training for INT8 those that it started from.
        config: of the model, as `--config` takes it.
        last: the checkpoint to go on from.
        int8: the network that was trained for INT8, at its best, as `--calib-cache` takes it.
        about: what the run was started with: settings, digests of the labels, versions.
        events: TensorBoard's folder.
        page: with curves and pictures.
    """

    def __init__(self, path: Path) -> None:
        """Name the files; nothing is written."""
        self.path = path
        self.model, self.config, self.last = path / "model.pth", path / "config.json", path / "last.pth"
        self.int8 = path / "int8.npz"
        self.about, self.events, self.page = path / "run.json", path / "tensorboard", path / "index.html"

    def begin(self, *, resume: bool) -> None:
        """Make the folder.

        Raises:
            InvalidArgumentError: it has a run that is not resumed, or files that no run wrote; or it cannot be written
                to.
        """
        try:
            check_writable(self.path)
        except OSError as error:
            raise InvalidArgumentError(f"cannot write to the folder {self.path}: {error.strerror}") from error
        if self.about.exists() or self.last.exists():
            if not resume:
                raise InvalidArgumentError(
                    f"the folder {self.path} holds a run: add --resume to go on with it, or choose another folder"
                )
            return
        other = next(
            (path for path in (self.model, self.int8, self.config, self.page, self.events) if path.exists()), None
        )
        if other is not None:
            raise InvalidArgumentError(
                f"the folder {self.path} has a {other.name}, which training would replace, but no run: choose another "
                "folder"
            )

    def check_int8(self) -> None:
        """Check the files that a run of training for INT8 has beside its checkpoint.

        Raises:
            InvalidArgumentError: one is missing, or they do not belong together.
        """
        if not (self.model.exists() and belongs_to(self.int8, sha256_of_file(self.model))):
            raise InvalidArgumentError(
                f"the folder {self.path} has no {self.model.name} and {self.int8.name} that belong together, as this "
                "run wrote them: put them back, or begin in another folder"
            )

    def write_start(self, made_with: dict[str, Any], began: Beginning) -> None:
        """Write what the run starts with, and the model's configuration."""
        about = {**made_with, **asdict(began), "versions": versions()}
        write_file(self.about, _json(about))
        write_file(self.config, _json(began.config.to_dict()))

    def write_best(self, network: RetinaFace | QuantisedNetwork) -> None:
        """Write the network at its best."""
        if isinstance(network, RetinaFace):
            self.write_model(network.state_dict())
            return
        key = Key(sha256_of_file(self.model), network.config, INT8.name)
        save_trained(self.int8, key, network.graph, network.as_trained(), network.kept)

    def write_model(self, state: dict[str, torch.Tensor]) -> None:
        """Write the weights."""
        content = io.BytesIO()
        torch.save({name: value.detach().cpu().clone() for name, value in state.items()}, content)
        write_file(self.model, content.getvalue())


def digest_of(pictures: Sequence[LabelledPicture]) -> str:
    """Return a SHA-256 over the names of pictures and their labels, the same for every format of the labels."""
    digest = sha256()
    for picture in pictures:
        digest.update(picture.path.name.encode("utf-8", "surrogateescape") + b"\0")
        classes = () if (picture.classes == 1).all() else (picture.classes,)  # with one class as it always was
        plain = () if picture.values is None else (picture.values,)
        for values in (picture.boxes, picture.landmarks, picture.ignored, *classes, *plain):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of this project and of the packages that a run depends on."""
    found = {"retinaface-trt": project_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
