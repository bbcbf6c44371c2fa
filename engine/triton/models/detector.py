"""The model `retinaface`: TRTRetinaFace, from pictures to faces."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.detector import TRTRetinaFace
from engine.errors import DeviceLostError
from engine.faces import Detections, Selection
from engine.protocol.tensors import outputs_of
from engine.triton.models.backend import (
    for_the_rest,
    options_of,
    parameters_of,
    response,
    tensors_of,
    together,
    version_folder,
)
from engine.triton.models.pictures import PictureReader
from engine.triton.repository import ENGINE_NAME
from engine.types import Image


@dataclass(frozen=True)
class _Asked:
    """What a request asks for."""

    images: list[Image]
    threshold: float
    selection: Selection

    def of(self, found: Sequence[Detections]) -> dict[str, Any]:
        """Return the outputs, of all faces of the images."""
        return outputs_of([self.selection.of(faces.above(self.threshold)) for faces in found])


class TritonPythonModel:
    """The interface that Triton's Python backend expects."""

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Open the engine: on the GPU that Triton gives this instance, else on the device in config.pbtxt."""
        parameters = parameters_of(arguments)
        on_gpu = arguments["model_instance_kind"] == "GPU"
        self._detector = TRTRetinaFace(
            version_folder(arguments) / ENGINE_NAME,
            f"cuda:{arguments['model_instance_device_id']}" if on_gpu else parameters["device"],
            threads=int(parameters["threads"]) if parameters["threads"] else None,
        )
        self._reader = PictureReader(int(parameters["max_pixels"]))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has gathered, whose pictures share batches."""
        images = self._reader.read([tensors_of(request) for request in requests])
        asked = [
            given if isinstance(given, Exception) else self._asked(request, given)
            for request, given in zip(requests, images, strict=True)
        ]
        answers = for_the_rest(asked, lambda valid: together(valid, self._detect))
        if any(isinstance(answer, DeviceLostError) for answer in answers):
            # Triton (2.51) does not start a model's process again when it ends, and goes on to say that it is ready.
            # So the server has to end: what supervises it starts it anew.
            os.kill(os.getppid(), signal.SIGTERM)
        return [response(answer) for answer in answers]

    def finalize(self) -> None:
        """Free the memory."""
        self._reader.close()
        self._detector.close()

    def _asked(self, request: Any, images: list[Image]) -> _Asked | Exception:
        try:
            options = options_of(request)
            threshold = self._detector.check_threshold(options.pop("score_threshold", None))
            return _Asked(images, threshold, Selection(**options))
        except Exception as error:
            return error

    def _detect(self, asked: Sequence[_Asked]) -> list[dict[str, Any]]:
        images = [image for each in asked for image in each.images]
        found = iter(self._detector.detect(images, score_threshold=min(each.threshold for each in asked)))
        return [each.of([next(found) for _ in each.images]) for each in asked]
