"""The model `retinaface_letterbox`: pictures to the network's input, and their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.runtime.letterbox import Letterbox
from engine.sidecar.content import Sidecar
from engine.sidecar.schema import read_sidecar
from engine.triton.configs import SIZES
from engine.triton.models.backend import for_the_rest, parameters_of, response, tensors_of, together, version_folder
from engine.triton.models.pictures import PictureReader
from engine.triton.repository import SIDECAR_NAME
from engine.types import Image
from engine.untrusted.files import read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_SIDECAR_BYTES


def sidecar_of(folder: Path) -> Sidecar:
    """Return the sidecar in a model's folder."""
    return read_sidecar(parse_json(read_file(folder / SIDECAR_NAME, MAX_SIDECAR_BYTES)))


def letterbox_of(sidecar: Sidecar) -> Letterbox:
    """Return the letterbox of pictures to the size that an engine is tuned for."""
    return Letterbox(sidecar.io.input.size.optimum, sidecar.config, enlarge=False)


class TritonPythonModel:
    """The interface that Triton's Python backend expects."""

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Read the sidecar."""
        self._input = (sidecar := sidecar_of(version_folder(arguments))).io.input
        self._letterbox = letterbox_of(sidecar)
        self._reader = PictureReader(int(parameters_of(arguments)["max_pixels"]))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has gathered."""
        images = self._reader.read([tensors_of(request) for request in requests])
        return [response(answer) for answer in for_the_rest(images, lambda valid: together(valid, self._prepare))]

    def finalize(self) -> None:
        """End the threads."""
        self._reader.close()

    def _prepare(self, given: Sequence[list[Image]]) -> list[dict[str, Any]]:
        return [
            {
                self._input.name: self._letterbox.batch(images).astype(self._input.dtype, copy=False),
                SIZES.name: np.array([image.shape[:2] for image in images], np.int32),
            }
            for images in given
        ]
