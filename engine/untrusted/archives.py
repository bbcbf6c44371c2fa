"""Zip archives from outside: how much they hold, before it is unpacked."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.untrusted.arrays import refuse_impossible_text
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_ARRAYS_BYTES, MAX_DIRECTORY_BYTES, MIB

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile stops others only when they are unpacked

# How a file of one array (.npy) begins, before the two bytes of its header's length; and a header as NumPy writes it
# for numbers and text.
_START = b"\x93NUMPY\x01\x00"
_START_BYTES = len(_START) + 2
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufcU][1-9]\d{0,8})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{0,18},?)\), \} *\n"
)
_PIECE = MIB  # read at a time: a value is not in memory twice


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
        raise InvalidArgumentError(f"is no zip archive, or damaged: {error!s:.200}") from error
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
                raise InvalidArgumentError(f"is damaged: {error!s:.200}") from error
    stored.seek(0)
    return stored


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file of NumPy arrays (.npz) of numbers or text, as this program stores them.

    NumPy's own reader tries to mend headers, which takes half a minute for one that is made for it.

    Raises:
        Exception: of many kinds, for files that cannot be read and for others; not all messages contain the path.
    """
    content = read_file(path, MAX_ARRAYS_BYTES)
    with open_archive(content, MAX_ARRAYS_BYTES) as archive:
        return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in archive.infolist()}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        start = file.read(_START_BYTES)
        header = file.read(int.from_bytes(start[-2:], "little"))
        found = _HEADER.fullmatch(header) if start[:-2] == _START else None
        if found is None:
            raise InvalidArgumentError(f"has {member.filename!r:.80}, which is no array of numbers or text")
        kind, shape = np.dtype(found[1].decode()), tuple(map(int, found[3].replace(b",", b" ").split()))
        claimed, holds = math.prod(shape) * kind.itemsize, member.file_size - len(start) - len(header)
        if claimed != holds:
            raise InvalidArgumentError(f"has {member.filename!r:.80} of {holds:,} bytes, expected {claimed:,}")
        values = np.empty(holds, np.uint8)
        for at in range(0, holds, _PIECE):
            piece = np.frombuffer(file.read(_PIECE), np.uint8)
            if len(piece) != min(_PIECE, holds - at):
                raise InvalidArgumentError(f"has {member.filename!r:.80}, which ends before its values do")
            values[at : at + _PIECE] = piece
    array = values.view(kind)
    try:
        refuse_impossible_text(array)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"has {member.filename!r:.80}, which {error}") from error
    return array.reshape(shape, order="F" if found[2] == b"True" else "C")
