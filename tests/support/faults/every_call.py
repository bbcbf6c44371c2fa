"""A child process of tests: writes with a fault at each call in turn, and prints what came of it.

    LD_PRELOAD=faults.so python every_call.py FOLDER

Each try is a process of its own, in a folder of its own, where the file or the files hold OLD before.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from engine.errors import OutputError
from engine.writing import FilesTogether, write_file

NAMES = ("a.network.onnx", "a.engine.json", "a.engine")
OLD, NEW = b"old" * 5_000, b"new content" * 10_000
KILLED = -1
FAULTS = {
    "killed": (KILLED, False),
    "no space": (errno.ENOSPC, False),
    "full from there on": (errno.ENOSPC, True),
    "input/output error": (errno.EIO, False),
    "broken from there on": (errno.EIO, True),
    "interrupted": (errno.EINTR, False),
}
NOT_REACHED, REFUSED = 10, 11


def files_in(folder: Path) -> FilesTogether:
    """Return the files that are written together."""
    return FilesTogether(*(folder / name for name in NAMES))


def contents_in(folder: Path, content: bytes) -> dict[Path, bytes]:
    """Return a content of each of them."""
    return {folder / name: name.encode() + content for name in NAMES}


def write_together(folder: Path, content: bytes) -> None:
    """Write several files."""
    files_in(folder).write(contents_in(folder, content))


def write_alone(folder: Path, content: bytes) -> None:
    """Write one."""
    write_file(folder / NAMES[0], content)


WRITERS = {"together": write_together, "alone": write_alone}


def _run(write: Callable[[Path, bytes], None], folder: Path, fault: tuple[int, bool], at: int) -> None:
    library = ctypes.CDLL(None)  # the preloaded one is in it
    library.faults_arm.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_int)
    library.faults_hit.restype = ctypes.c_char_p
    library.faults_arm(at, *fault)
    try:
        write(folder, NEW)
    except OutputError as error:
        library.faults_disarm()
        (folder / "message").write_text(f"{library.faults_hit().decode()}: {error}")
        os._exit(REFUSED)
    os._exit(0 if library.faults_disarm() >= at else NOT_REACHED)


def main(root: Path) -> None:
    """Print a line of JSON for each try: writer, fault, call, folder, the status of the process as waitpid gives it."""
    for writer, write in WRITERS.items():
        for fault, how in FAULTS.items():
            for at in count(1):
                folder = root / f"{writer}-{fault.replace('/', ' ')}-{at}"
                folder.mkdir()
                write(folder, OLD)
                child = os.fork()
                if child == 0:
                    _run(write, folder, how, at)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if status == NOT_REACHED:
                    break
                print(json.dumps([writer, fault, at, str(folder), status]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
