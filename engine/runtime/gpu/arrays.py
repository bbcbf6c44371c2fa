"""Streams of callers on a GPU, and of their arrays, of any library that has DLPack or __cuda_array_interface__."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidArgumentError

_LEGACY_STREAMS, _PER_THREAD_STREAM = (0, 1), 2  # handles of the default streams


def names_no_stream(array: Any) -> bool:
    """Whether a device array names no stream that its values come from.

    PyCUDA never names one, numba not the default stream. A producer of DLPack is told which stream shall wait.
    """
    return not hasattr(array, "__dlpack__") and array.__cuda_array_interface__.get("stream") is None


@dataclass(frozen=True)
class CallersStream:
    """A stream of the caller's.

    Attributes:
        handle: for CUDA.
        owner: the object that the caller gave, which keeps the stream alive; None for a bare handle.
    """

    handle: int
    owner: object = None

    @property
    def is_kept(self) -> bool:
        """Whether the stream exists, for every thread, as long as this object does."""
        return self.handle in _LEGACY_STREAMS or (self.owner is not None and self.handle != _PER_THREAD_STREAM)


def stream_of(stream: object, first: Any) -> CallersStream:
    """Return the stream that a caller means.

    Args:
        stream: a handle, an object of torch, CuPy, PyCUDA or CUDA Python, or None: the stream that the array `first`
            names, else the default stream.

    Raises:
        InvalidArgumentError: `stream` is none of these.
    """
    handle = stream
    if stream is None:
        handle = getattr(first, "__cuda_array_interface__", {}).get("stream") or 0
    elif hasattr(stream, "__cuda_stream__"):
        found = stream.__cuda_stream__
        handle = (found() if callable(found) else found)[1]
    else:
        for attribute in ("cuda_stream", "ptr", "handle"):
            if hasattr(stream, attribute):
                handle = getattr(stream, attribute)
                break
    try:
        return CallersStream(operator.index(handle), None if handle is stream else stream)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgumentError(
            f"stream is a {type(stream).__name__}, expected None, an integer handle, or an object with "
            "__cuda_stream__, cuda_stream, ptr or handle"
        ) from None
