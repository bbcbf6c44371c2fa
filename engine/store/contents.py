"""What the cache folder holds: kept engines, and downloaded weights."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgumentError, OutputError
from engine.files import cache_folder
from engine.store.keep import engines_folder
from engine.writing import locked

# Only what has a name of this package's making is listed and removed: the folder may hold other things.
_ENGINE = re.compile(r"[A-Za-z0-9._]+-[a-z0-9]+-[0-9a-f]{16}")
_DOWNLOAD = re.compile(r"[0-9a-f]{16}-.+\.pth")


@dataclass(frozen=True)
class Kept:
    """One kept engine, or one downloaded file of weights.

    Attributes:
        name: for people and for `remove`.
        path: of its folder or file.
        size: bytes.
        used: when it was last used, in seconds since 1970; for weights, when they were downloaded.
    """

    name: str
    path: Path
    size: int
    used: float


def contents() -> list[Kept]:
    """Return what is kept, the last used first; OutputError if the cache folder cannot be read."""
    try:
        found = [*_matching(engines_folder(), _ENGINE), *_matching(cache_folder(), _DOWNLOAD)]
        kept = [Kept(path.name, path, _size(path), path.stat().st_mtime) for path in found]
    except OSError as error:
        raise OutputError.at(cache_folder(), error, f"it cannot be read: {error.strerror}") from error
    return sorted(kept, key=lambda entry: -entry.used)


def remove(names: Sequence[str] = ()) -> list[Kept]:
    """Remove what is kept under these names, or everything, and return it. An engine being built is waited for.

    Raises:
        InvalidArgumentError: nothing is kept under a name.
        OutputError: something could not be removed.
    """
    kept = contents()
    if unknown := sorted(set(names) - {entry.name for entry in kept}):
        raise InvalidArgumentError(f"{cache_folder()} has no {unknown[0]!r}: see what retinaface-trt cache lists")
    chosen = [entry for entry in kept if not names or entry.name in names]
    for entry in chosen:
        try:
            if entry.path.is_dir():
                with locked(entry.path):
                    shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError.at(entry.path, error, f"it cannot be removed: {error.strerror}") from error
    return chosen


def _matching(folder: Path, names: re.Pattern[str]) -> list[Path]:
    return [path for path in folder.iterdir() if names.fullmatch(path.name)] if folder.is_dir() else []


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
