"""The lock of a folder, which keeps its writers apart."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import OutputError

_PATIENCE_S = 60.0  # a writer holds the lock for as long as the disk takes to write an engine
_PAUSE_S = 0.05


@contextmanager
def locked(folder: Path, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Lock a folder against other writers, of this process or another. The wait for it can be interrupted.

    Raises:
        OutputError: there is no such folder, or another writer has held the lock for so long.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError.at(folder, error) from error
    try:
        _lock(descriptor, folder, time.monotonic() + patience_s, patience_s)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor too
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, deadline: float, patience_s: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise OutputError.at(
                    folder,
                    error,
                    f"{_holder(descriptor)} keeps the folder locked, for {patience_s:g} s by now. Wait until it has "
                    "written its files, or end it",
                ) from None
        except OSError as error:
            raise OutputError.at(folder, error, f"it cannot be locked: {error.strerror}") from error
        time.sleep(_PAUSE_S)


def _holder(descriptor: int) -> str:
    """Name the process that holds the lock, as far as Linux tells."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:  # such as "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF"; one that waits has "->" after "1:"
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5] == place:
            return f"process {fields[4]}" if int(fields[4]) > 0 else "a process of another container"
    return "another process"
