"""Zip archives from outside: how much they hold, before it is unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_ARRAYS_BYTES, MAX_DIRECTORY_BYTES, MIB

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile stops others only when they are unpacked


class _Archive(io.BytesIO):
    """The file of an archive: zipfile reads its directory at once, and makes twenty times as much of it."""

    is_open = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_open and size is not None and size > MAX_DIRECTORY_BYTES:
            raise InvalidArgumentError(
                f"claims a directory of {size:,} bytes, expected at most {MAX_DIRECTORY_BYTES:,}, or is damaged"
            )
        return super().read(size)


def open_archive(content: bytes, at_most: int) -> zipfile.ZipFile:
    """Open a zip archive whose members have at most so many bytes when they are unpacked.

    Raises:
        InvalidArgumentError: it is no zip archive, or unpacks to more; the message does not contain its name.
    """
    file = _Archive(content)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InvalidArgumentError(f"is no zip archive, or damaged: {error}") from error
    file.is_open = True
    members = archive.infolist()
    if len({member.filename for member in members}) != len(members):
        raise InvalidArgumentError("has two members of one name")
    if any(member.compress_type not in _METHODS for member in members):
        raise InvalidArgumentError("is packed in a way that is not expected: neither stored nor deflated")
    unpacked = sum(member.file_size for member in members)
    if unpacked > at_most:
        raise InvalidArgumentError(f"unpacks to {unpacked // MIB:,} MiB, expected at most {at_most // MIB:,} MiB")
    return archive


def unpacked(content: bytes, at_most: int) -> io.BytesIO:
    """Return a zip archive with the same members, stored: another reader can find neither more nor others in it.

    Readers differ in where they look for an archive's directory. A check with one of them would say nothing about
    another.

    Raises:
        InvalidArgumentError: see open_archive; or a member is damaged.
    """
    stored = io.BytesIO()
    with open_archive(content, at_most) as archive, zipfile.ZipFile(stored, "w") as copy:
        for member in archive.infolist():
            try:
                copy.writestr(zipfile.ZipInfo(member.filename), archive.read(member))
            except Exception as error:  # zipfile and zlib raise many kinds
                raise InvalidArgumentError(f"is damaged: {error}") from error
    stored.seek(0)
    return stored


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file of NumPy arrays (.npz), as this program stores them.

    Raises:
        Exception: of many kinds, for files that cannot be read and for others; not all messages contain the path.
    """
    content = read_file(path, MAX_ARRAYS_BYTES)
    open_archive(content, MAX_ARRAYS_BYTES).close()
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {name: np.asarray(stored[name]) for name in stored.files}
