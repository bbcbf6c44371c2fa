"""Writes one file, whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from engine.errors import OutputError
from engine.writing.lock import locked
from engine.writing.signals import signals_deferred

_LONGEST_NAME = 255  # bytes that file systems of Linux take


def write_file(path: Path, content: bytes) -> None:
    """Write a file: a complete copy beside it, of a hidden name, which is then renamed.

    Raises:
        OutputError: the file could not be written, and what it held before is unchanged.
    """
    part = hidden_beside(path, ".part")
    with locked(path.parent), signals_deferred(), errors_named(path):
        try:
            refuse_special(path)
            part.unlink(missing_ok=True)  # of a writer that was killed
            write_synced(part, content)
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def check_writable(folder: Path) -> None:
    """Create `folder` if it is missing; OSError unless a file can be created in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with signals_deferred(), tempfile.TemporaryFile(dir=folder):
        pass


def check_name(path: Path) -> None:
    """Raise OSError if a file cannot have that name in its folder, which exists: it is too long."""
    with suppress(FileNotFoundError):
        path.lstat()


def hidden_beside(path: Path, suffix: str) -> Path:
    """Return .NAME and a suffix beside a file NAME; where that is too long, a digest stands for the name."""
    name = os.fsencode(path.name)
    if len(name) + len(suffix) < _LONGEST_NAME:
        return path.with_name(f".{path.name}{suffix}")
    return path.with_name(f".{sha256(name).hexdigest()[:32]}{suffix}")


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file, which no reader looks at yet, and wait until the disk has it."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def refuse_special(path: Path) -> None:
    """Raise OSError if something other than a regular file is in the place of the file: a rename would replace it."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", str(path))
    if path.exists() and not path.is_file():
        raise OSError(
            errno.EINVAL, "there is a device, FIFO or socket of that name, expected a file or nothing", str(path)
        )


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Turn OSErrors, of which many do not name a file, into an OutputError that names this one."""
    try:
        yield
    except OSError as error:
        raise OutputError.at(path, error) from error
