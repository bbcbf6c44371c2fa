"""Files that a test run makes only once; all tests and all pytest-xdist workers read them.

Files are not kept for the next run, whose sources may have changed. PyTorch is imported only where it is needed: the
operators' tests, which `make mutants` starts a hundred times, do not need it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import onnx

    from engine.config.detection import InputSize
    from engine.model.retinaface import RetinaFace

_folders: list[Path] = []


def open_folder(factory: pytest.TempPathFactory) -> None:
    """Choose the folder of the run; pytest-xdist workers use a common one."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    _folders[:] = [folder]


def made_once(name: str, make: Callable[[], bytes]) -> bytes:
    """Return the result of `make`, which is called once per name and run; other processes wait for its result."""
    (folder,) = _folders
    path = folder / name
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(make())
            Path(file.name).rename(path)
    return path.read_bytes()


def exported(model: RetinaFace, size: InputSize) -> onnx.ModelProto:
    """Return export_network(model, size); exports take seconds, so a run makes each only once.

    A network is identified by its settings, weights and size.
    """
    import onnx

    from engine.export.network import export_network
    from engine.model.weights.load import tensors_digest

    identity = repr((model.config, tensors_digest(model.state_dict()), size))
    name = hashlib.sha256(identity.encode()).hexdigest()
    content = made_once(f"{name}.onnx", lambda: export_network(model, size).SerializeToString())
    network = onnx.ModelProto()
    network.ParseFromString(content)
    return network
