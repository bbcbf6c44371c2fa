"""What engines are called, and what they are, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace


def name_engines(paths: Sequence[Path]) -> dict[str, Path]:
    """Name each engine by its file, or by its whole path where files have the same name."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError("an engine is named twice: give another file each time")
    stems = [path.stem for path in paths]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in paths}


def describe(detector: TRTRetinaFace) -> str:
    """Say in words what a detector runs."""
    sidecar, (height, width) = detector.sidecar, detector.input_size
    settings = ", ".join(f"{key} {value}" for key, value in sidecar.thresholds.to_dict().items())
    return (
        f"{sidecar.config.name}, weights {sidecar.weights.source}, {sidecar.precision.mode}, input {height} x "
        f"{width}, on {detector.device} with {detector.runtime}; {settings}"
    )
