"""Options that several commands share, and checks before long work begins."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.writing import check_name, check_writable

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace


def add_device_options(parser: argparse.ArgumentParser, default: str | None = "auto") -> None:
    """Add the options that say where an engine runs; None as default tells that no device was given."""
    add = parser.add_argument
    add("--device", default=default,
        help="auto, cpu, cuda or cuda:N; cpu:openvino or cpu:onnxruntime (default auto)")  # fmt: skip
    add("--trust-embedded-plugins", action="store_true",
        help="let a GPU run the native code inside an engine that was built with --embed-plugins")  # fmt: skip


def require_packages(*names: str) -> None:
    """Raise RetinaFaceError unless all these packages are installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RetinaFaceError(f"not installed: {' and '.join(missing)}. Run pip install {' '.join(missing)}")


def check_folder(folder: Path) -> None:
    """Create a folder if needed; raise InvalidArgumentError unless files can be written to it."""
    try:
        check_writable(folder)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write to the folder {folder}: {error.strerror}") from error


def check_file_name(path: Path) -> None:
    """Raise InvalidArgumentError if a file cannot have that name in its folder."""
    try:
        check_name(path)
    except OSError as error:
        raise InvalidArgumentError(f"output {path} cannot be written: {error.strerror}. Choose another name") from error


def check_outputs(paths: Sequence[Path]) -> None:
    """Raise InvalidArgumentError unless a file can be written at each path; missing folders are created."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError(f"{paths[0]} is named for two outputs")
    for path in paths:
        check_folder(path.parent)
        check_file_name(path)
        if path.is_dir():
            raise InvalidArgumentError(f"output {path} is a folder, expected the name of a file")


def name_engines(paths: Sequence[Path]) -> dict[str, Path]:
    """Name each engine by its file; by its full path if several files have the same name."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError("an engine is named twice: give another file each time")
    stems = [path.stem for path in paths]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in paths}


def describe(detector: TRTRetinaFace) -> str:
    """Say in words what a detector runs."""
    sidecar, (height, width) = detector.sidecar, detector.input_size
    settings = ", ".join(f"{key} {value}" for key, value in asdict(sidecar.thresholds).items())
    return (
        f"{sidecar.config.name}, weights {sidecar.weights.source}, {sidecar.precision.mode}, input {height} x "
        f"{width}, on {detector.device} with {detector.runtime}; {settings}"
    )
