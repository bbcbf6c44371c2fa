"""MXNet's parameter files: a list of arrays with names.

The format is that of NDArray::Save in MXNet's src/ndarray/ndarray.cc.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError

START = struct.pack("<Q", 0x112)  # kMXAPINDArrayListMagic
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_MOST_ARRAYS, _MOST_AXES, _LONGEST_NAME = 10_000, 8, 512


def read_arrays(content: bytes | memoryview) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by name, "arg:" or "aux:" before it left out.

    Raises:
        InvalidArgumentError: it is cut off, damaged, or has what no such file needs; the message does not contain its
            name.
    """
    reader = _Reader(content)
    if reader.take(len(START)) != START:
        raise InvalidArgumentError("does not begin like an MXNet parameter file")
    reader.take(8)  # reserved
    count = reader.number("Q", _MOST_ARRAYS, "arrays")
    arrays = [_array(reader) for _ in range(count)]
    if reader.number("Q", _MOST_ARRAYS, "names") != count:
        raise InvalidArgumentError(f"has {count} arrays, but another number of names")
    names = [_name(reader) for _ in range(count)]
    if len(set(names)) != count:
        raise InvalidArgumentError("has two arrays of one name")
    if reader.left:
        raise InvalidArgumentError(f"has {reader.left} bytes behind its last name")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._at = memoryview(content), 0

    @property
    def left(self) -> int:
        """Bytes that were not taken."""
        return len(self._content) - self._at

    def take(self, size: int) -> memoryview:
        """Return the next bytes."""
        if size > self.left:
            raise InvalidArgumentError(f"ends within an array or a name: it lacks {size - self.left:,} bytes")
        self._at += size
        return self._content[self._at - size : self._at]

    def number(self, kind: str, most: int, what: str) -> int:
        """Return the next integer, of a format of struct; it counts something."""
        (value,) = struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))
        if not 0 <= value <= most:
            raise InvalidArgumentError(f"says that it has {value} {what}, expected at most {most:,}")
        return int(value)


def _array(reader: _Reader) -> NDArray[Any]:
    version = reader.number("I", 0xFFFFFFFF, "versions")
    if version in (_V2, _V3) and reader.number("i", 1 << 30, "kinds of storage") != _DENSE:
        raise InvalidArgumentError("has a sparse array, expected dense ones")
    if version in (_V1, _V2, _V3):
        axes, length = reader.number("I", _MOST_AXES, "axes"), "q"
    elif version <= _MOST_AXES:  # before version 1: the number of axes is the first word, lengths have 32 bits
        axes, length = version, "I"
    else:
        raise InvalidArgumentError(f"has an array of version {version:#x}, which is unknown")
    shape = tuple(reader.number(length, 1 << 40, "values along an axis") for _ in range(axes))
    if not shape:
        raise InvalidArgumentError("has an array without a shape")
    reader.take(8)  # the device that it was on, and its number
    kind = reader.number("i", 1 << 30, "types")
    if kind not in _DTYPES:
        raise InvalidArgumentError(f"has an array of type {kind}, expected one of {sorted(_DTYPES)}")
    dtype = np.dtype(_DTYPES[kind])
    return np.frombuffer(reader.take(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


def _name(reader: _Reader) -> str:
    length = reader.number("Q", _LONGEST_NAME, "characters in a name")
    try:
        name = str(reader.take(length), "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError("has a name that is not UTF-8") from error
    return name.removeprefix("arg:").removeprefix("aux:")
