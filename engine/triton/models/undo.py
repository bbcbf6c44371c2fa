"""The model `retinaface_undo`: outputs of the plan to faces in pixels of the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.faces import Selection
from engine.protocol.tensors import outputs_of
from engine.runtime.limits import EngineLimits
from engine.triton.configs import SIZES
from engine.triton.models.backend import each, options_of, response, tensors_of, version_folder
from engine.triton.models.letterbox import letterbox_of, sidecar_of
from engine.triton.repository import ENGINE_NAME
from engine.types import DEFAULT_SCORE_THRESHOLD, RawDetections


class TritonPythonModel:
    """The interface that Triton's Python backend expects."""

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Read the sidecar."""
        sidecar = sidecar_of(version_folder(arguments))
        self._letterbox = letterbox_of(sidecar)
        self._limits = EngineLimits(Path(ENGINE_NAME), sidecar)
        self._threshold = max(DEFAULT_SCORE_THRESHOLD, sidecar.thresholds.score)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that Triton has gathered."""
        return [response(answer) for answer in each(requests, self._undo)]

    def _undo(self, request: Any) -> dict[str, Any]:
        options, tensors = options_of(request), tensors_of(request)
        threshold = self._limits.check_threshold(options.pop("score_threshold", self._threshold))
        selection = Selection(**options)
        sizes = [(int(height), int(width)) for height, width in tensors.pop(SIZES.name)]
        found = self._letterbox.undo(RawDetections.of(tensors), sizes)
        return outputs_of([selection.of(faces.above(threshold)) for faces in found])
