"""Zip archives from outside: how much they hold, before it is unpacked."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

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
# A member's header begins so; at its end are the lengths of the name and of the rest that follow.
_LOCAL, _LOCAL_START = struct.Struct("<26xHH"), b"PK\x03\x04"
_ENCRYPTED = 0x41  # flags

_PIECE = MIB  # read at a time: a value is not in memory twice


Content = bytes | memoryview


class _Archive(io.RawIOBase):
    """The file of an archive: zipfile reads its directory at once, and makes twenty times as much of it."""

    def __init__(self, content: Content) -> None:
        self._content = memoryview(content)
        self._at = 0
        self.is_open = False

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        if at < 0:
            raise ValueError("before the beginning")
        self._at = at
        return at

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_open and size is not None and size > MAX_DIRECTORY_BYTES:
            raise InvalidArgumentError(
                f"claims a directory of {size:,} bytes, expected at most {MAX_DIRECTORY_BYTES:,}, or is damaged"
            )
        end = len(self._content) if size is None or size < 0 else self._at + size
        piece = bytes(self._content[self._at : end])
        self._at += len(piece)
        return piece


class Archive:
    """A zip archive in memory: its members by name, and their contents.

    Attributes:
        members: of the archive.
    """

    def __init__(self, content: Content, at_most: int) -> None:
        """Read the directory of an archive whose members have at most so many bytes when they are unpacked.

        Raises:
            InvalidArgumentError: it is no zip archive, or unpacks to more, or its members overlap; the message does not
                contain its name.
        """
        self._content = memoryview(content)
        file = _Archive(content)
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InvalidArgumentError(f"is no zip archive, or damaged: {error!s:.200}") from error
        file.is_open = True
        entries = self._archive.infolist()
        self.members = {entry.filename: entry for entry in entries}
        if len(self.members) != len(entries):
            raise InvalidArgumentError("has two members of one name")
        if any(entry.compress_type not in _METHODS or entry.flag_bits & _ENCRYPTED for entry in entries):
            raise InvalidArgumentError("is packed in a way that is not expected: neither stored nor deflated")
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > at_most:
            raise InvalidArgumentError(f"unpacks to {unpacked:,} bytes, expected at most {at_most:,}")
        self._places = self._checked_places(entries)

    def place(self, name: str) -> slice | None:
        """Return where the content of a member is in the archive; None if it is deflated."""
        return self._places[name] if self.members[name].compress_type == zipfile.ZIP_STORED else None

    def open(self, name: str) -> IO[bytes]:
        """Open a member; reading it may raise exceptions of many kinds."""
        return self._archive.open(self.members[name])

    def unpack(self, name: str) -> NDArray[np.uint8]:
        """Return the content of a member, in memory that may be written to.

        Raises:
            InvalidArgumentError: it is damaged.
        """
        values = np.empty(self.members[name].file_size, np.uint8)
        try:
            with self.open(name) as file:
                complete = _fill(values, file)
        except Exception as error:  # zipfile and zlib raise many kinds
            raise InvalidArgumentError(f"is damaged: {error!s:.200}") from error
        if not complete:
            raise InvalidArgumentError(f"is damaged: {name!r:.80} ends before it should")
        return values

    def _checked_places(self, entries: list[zipfile.ZipInfo]) -> dict[str, slice]:
        places, last = {}, 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            begin = entry.header_offset
            header = self._content[begin : begin + _LOCAL.size] if begin >= last else b""
            if len(header) != _LOCAL.size or header[:4] != _LOCAL_START:
                raise InvalidArgumentError(f"is damaged: {entry.filename!r:.80} is not where it should be")
            begin += _LOCAL.size + sum(_LOCAL.unpack(header))
            last = begin + entry.compress_size
            is_stored = entry.compress_type == zipfile.ZIP_STORED
            if last > len(self._content) or (is_stored and entry.compress_size != entry.file_size):
                raise InvalidArgumentError(f"is damaged: {entry.filename!r:.80} has another size")
            places[entry.filename] = slice(begin, last)
        return places


def _fill(values: NDArray[np.uint8], file: IO[bytes]) -> bool:
    """Fill an array from a file, piece by piece; return whether the file had as much."""
    for at in range(0, len(values), _PIECE):
        piece = np.frombuffer(file.read(_PIECE), np.uint8)
        if len(piece) != min(_PIECE, len(values) - at):
            return False
        values[at : at + _PIECE] = piece
    return True


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file of NumPy arrays (.npz) of numbers or text, as this program stores them.

    NumPy's own reader tries to mend headers, which takes half a minute for one that is made for it.

    Raises:
        Exception: of many kinds, for files that cannot be read and for others; not all messages contain the path.
    """
    return arrays_of(read_file(path, MAX_ARRAYS_BYTES), MAX_ARRAYS_BYTES)


def arrays_of(content: Content, at_most: int) -> dict[str, NDArray[Any]]:
    """Return the arrays in the content of such a file, which unpacks to at most so many bytes; see read_arrays."""
    archive = Archive(content, at_most)
    return {name.removesuffix(".npy"): _read_array(archive, name) for name in archive.members}


def _read_array(archive: Archive, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        start = file.read(_START_BYTES)
        header = file.read(int.from_bytes(start[-2:], "little"))
        found = _HEADER.fullmatch(header) if start[:-2] == _START else None
        if found is None:
            raise InvalidArgumentError(f"has {name!r:.80}, which is no array of numbers or text")
        kind, shape = np.dtype(found[1].decode()), tuple(map(int, found[3].replace(b",", b" ").split()))
        claimed, holds = math.prod(shape) * kind.itemsize, archive.members[name].file_size - len(start) - len(header)
        if claimed != holds:
            raise InvalidArgumentError(f"has {name!r:.80} of {holds:,} bytes, expected {claimed:,}")
        values = np.empty(holds, np.uint8)
        if not _fill(values, file):
            raise InvalidArgumentError(f"has {name!r:.80}, which ends before its values do")
    array = values.view(kind)
    try:
        refuse_impossible_text(array)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"has {name!r:.80}, which {error}") from error
    return array.reshape(shape, order="F" if found[2] == b"True" else "C")
