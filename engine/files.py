"""Digests of files, and where this package has its files."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from engine.untrusted.files import open_regular


def sha256_of(data: bytes | memoryview) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; OSError unless it is a regular file that can be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder of kept engines and downloads.

    It is $RETINAFACE_TRT_CACHE, else $XDG_CACHE_HOME/retinaface-trt, else ~/.cache/retinaface-trt.
    """
    if own := os.environ.get("RETINAFACE_TRT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retinaface-trt"


def find_in_package(name: str) -> Path | None:
    """Return the file `name` of this package; None if it was not built.

    In an editable installation the package has two folders: sources and compiled files.
    """
    spec = importlib.util.find_spec("engine")
    folders = (spec and spec.submodule_search_locations) or ()
    return next((Path(folder, name).resolve() for folder in folders if Path(folder, name).is_file()), None)
