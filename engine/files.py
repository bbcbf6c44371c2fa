"""Atomic writing of files, and their digests."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.untrusted.files import open_regular


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; OSError unless it is a regular file that can be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def find_in_package(name: str) -> Path | None:
    """Return the file `name` of this package; None if it was not built.

    In an editable installation the package has two folders: sources and compiled files.
    """
    spec = importlib.util.find_spec("engine")
    folders = (spec and spec.submodule_search_locations) or ()
    return next((Path(folder, name).resolve() for folder in folders if Path(folder, name).is_file()), None)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files of one folder, all or none of them.

    Complete copies are written beside the files, then renamed in the given order. Meanwhile the folder is locked
    against other writers, and signals are deferred. Only a process that is killed, or a machine that stops, between two
    renames can leave files of two writes side by side.

    Raises:
        OSError: a file could not be written; nothing was replaced.
    """
    folder = next(iter(contents)).parent
    with _signals_deferred(), _locked(folder):
        _remove_leftovers(contents)
        parts = {path: path.with_name(f".{path.name}.part") for path in contents}
        try:
            for path, content in contents.items():
                if path.is_dir():
                    raise IsADirectoryError(21, "there is a folder of that name", str(path))
                with open(parts[path], "xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for path, part in parts.items():
                os.replace(part, path)
        finally:
            _remove_leftovers(contents)


def check_writable(folder: Path) -> None:
    """Create `folder` if it is missing; OSError unless a file can be created in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _remove_leftovers(contents: Mapping[Path, bytes]) -> None:
    """Remove unfinished copies, of this process or, as the folder is locked, of a killed one."""
    for path in contents:
        with suppress(FileNotFoundError):
            path.with_name(f".{path.name}.part").unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread only
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda n, frame: received.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signal_number in received:
            os.kill(os.getpid(), signal_number)
