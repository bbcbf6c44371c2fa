"""Files of arrays (.npz, numbers only): the levels of a mesh, the weights of a dense branch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.untrusted.archives import arrays_of, read_arrays
from engine.writing import write_file

_Made = TypeVar("_Made")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file.

    Raises:
        OutputError: the file cannot be written.
    """
    content, named = io.BytesIO(), dict(arrays)
    np.savez_compressed(content, allow_pickle=False, **named)
    write_file(path, content.getvalue())


def load_arrays(path: Path, what: str, make: Callable[[Mapping[str, NDArray[Any]]], _Made]) -> _Made:
    """Read a file of arrays, and make something of them.

    Args:
        path: of the file.
        what: it should hold, for messages.
        make: may raise InvalidArgumentError, or KeyError for an array that is missing.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds something else; the message names it.
    """
    return _read(lambda: read_arrays(path), f"{what} cannot be read from {path}", f"{path} does not hold {what}", make)


def make_of(content: bytes, what: str, make: Callable[[Mapping[str, NDArray[Any]]], _Made], at_most: int) -> _Made:
    """Make something of the content of such a file, of at most so many bytes when it is unpacked; see load_arrays.

    Raises:
        InvalidArgumentError: it is damaged, or holds something else.
    """
    return _read(lambda: arrays_of(content, at_most), f"{what} cannot be read", f"it does not hold {what}", make)


def _read(
    read: Callable[[], dict[str, NDArray[Any]]],
    unreadable: str,
    unfit: str,
    make: Callable[[Mapping[str, NDArray[Any]]], _Made],
) -> _Made:
    try:
        arrays = read()
    except Exception as error:  # of many kinds
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidArgumentError(f"{unreadable}: {reason}") from error
    try:
        return make(arrays)
    except (InvalidArgumentError, KeyError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidArgumentError(f"{unfit}: {reason}. Make it again") from error


def typed(array: NDArray[Any], kind: type) -> NDArray[Any]:
    """Return an array; InvalidArgumentError if its elements are of another type."""
    if array.dtype != kind:
        raise InvalidArgumentError(f"an array is of {array.dtype}, expected {np.dtype(kind)}")
    return array
