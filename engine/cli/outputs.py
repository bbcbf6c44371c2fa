"""What a long command checks before it starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.files import check_writable


def require_packages(*names: str) -> None:
    """Raise RetinaFaceError unless packages are installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RetinaFaceError(f"not installed: {' and '.join(missing)}. Run pip install {' '.join(missing)}")


def check_outputs(paths: Sequence[Path]) -> None:
    """Raise InvalidArgumentError unless a file can be written at each path; folders are created."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError(f"{paths[0]} is named for two outputs")
    for path in paths:
        if path.is_dir():
            raise InvalidArgumentError(f"output {path} is a folder, expected the name of a file")
        try:
            check_writable(path.parent)
        except OSError as error:
            raise InvalidArgumentError(f"cannot write to the folder {path.parent}: {error.strerror}") from error
