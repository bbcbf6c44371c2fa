"""Files from outside: regular ones, of a bounded size. A FIFO would block, and a device may have no end."""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked process has its own copy
_NO_FIXED_SIZE = "it has no fixed size, expected a regular file that nobody is writing"


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened or is no regular file; `strerror` says so in words.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer blocks otherwise
    file = open(descriptor, "rb")  # noqa: SIM115
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return file
    file.close()
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, expected a regular file", str(path))


def read_file(path: Path, at_most: int) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; `strerror` says so in words.
    """
    with open_regular(path) as file:
        size = _size(file, path, at_most)
        content = file.read(size + 1)
    if len(content) > size:
        raise OSError(errno.EINVAL, _NO_FIXED_SIZE, str(path))
    return content


def _size(file: io.BufferedReader, path: Path, at_most: int) -> int:
    size = os.fstat(file.fileno()).st_size
    if size > at_most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, expected at most {at_most:,}", str(path))
    return size


def read_into_memory(path: Path, at_most: int) -> memoryview:
    """Read a regular file of at most so many bytes into memory that may be written to: tensors can be views of it.

    Raises:
        OSError: see read_file.
    """
    with open_regular(path) as file:
        size = _size(file, path, at_most)
        # NumPy would ask for large pages, for which a busy system searches longer than reading takes.
        content = memoryview(mmap.mmap(-1, size, flags=_PRIVATE) if size else bytearray())
        if file.readinto(content) != size or file.read(1):
            raise OSError(errno.EINVAL, _NO_FIXED_SIZE, str(path))
    return content
