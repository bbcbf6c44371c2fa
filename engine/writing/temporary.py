"""Folders for what is needed only as long as the process lives."""

from __future__ import annotations

import tempfile
from pathlib import Path

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # each is removed as the interpreter ends


def folder_until_exit() -> Path:
    """Make an empty folder, which is removed when the process ends; OutputError if that fails."""
    folder = tempfile.TemporaryDirectory(prefix="retinaface-trt-")
    _FOLDERS.append(folder)
    return Path(folder.name)
