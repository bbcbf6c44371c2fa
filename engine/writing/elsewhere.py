"""A file that a library writes by itself, such as a video, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.writing.files import errors_named, hidden_beside, refuse_special
from engine.writing.lock import locked
from engine.writing.signals import signals_deferred


@contextmanager
def written_elsewhere(path: Path) -> Iterator[Path]:
    """Give the path of a hidden file of the same suffix beside a file; after the block it is renamed to the file.

    The folder is not locked during the block, which may take hours; the hidden file's name has the process's number. If
    the block raises, the hidden file is removed.

    Raises:
        OutputError: the file could not be written, and what it held before is unchanged.
    """
    part = hidden_beside(path, f".{os.getpid()}.part{path.suffix}")
    try:
        with errors_named(path):
            refuse_special(path)
        yield part
        with locked(path.parent), signals_deferred(), errors_named(path):
            refuse_special(path)
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()
