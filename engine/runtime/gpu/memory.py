"""Memory of a GPU session: device blocks with pinned host copies, their layout, and views for the operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 256  # bytes, of cudaMalloc and of every tensor


def aligned(nbytes: int) -> int:
    """Round `nbytes` up to a multiple of ALIGNMENT."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class DeviceView:
    """A view of device memory for the operators; it does not own the memory."""

    pointer: int
    shape: tuple[int, ...]
    dtype: DTypeLike

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.pointer, False),
            "strides": None,
            "version": 3,
        }


@dataclass(frozen=True)
class Tensor:
    """One output of an engine for one image.

    Attributes:
        name: of the engine's tensor.
        dtype: of its values.
        shape: without the batch.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Offsets of the outputs in one block, for one batch size, so that a single copy takes them all.

    Attributes:
        offsets: in bytes, by name.
        nbytes: of the block.
    """

    tensors: tuple[Tensor, ...]
    batch: int
    offsets: dict[str, int]
    nbytes: int

    def copies(self, block: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Copy the outputs out of the bytes of a block."""
        whole = block[: self.nbytes].copy()
        arrays = {}
        for tensor in self.tensors:
            shape = (self.batch, *tensor.shape)
            begin = self.offsets[tensor.name]
            count = int(np.prod(shape))
            arrays[tensor.name] = np.frombuffer(whole, tensor.dtype, count, begin).reshape(shape)
        return arrays


@lru_cache(maxsize=256)
def layout_of(tensors: tuple[Tensor, ...], batch: int) -> Layout:
    """Lay out the outputs for `batch` images."""
    offsets, end = {}, 0
    for tensor in tensors:
        offsets[tensor.name] = end
        end += aligned(batch * int(np.prod(tensor.shape)) * tensor.dtype.itemsize)
    return Layout(tensors, batch, offsets, end)


class Block:
    """Device memory and pinned host memory of the same size, for asynchronous copies.

    Attributes:
        pointer: of the device memory.
        host: bytes of the pinned memory.
    """

    def __init__(self, cupy: Any, nbytes: int) -> None:
        """Allocate from CUDA itself: CuPy's pool would keep the memory of a closed session."""
        self._cuda = cupy.cuda
        self._device = cupy.cuda.Memory(nbytes)
        pinned = cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(nbytes), 0)
        self.pointer = int(self._device.ptr)
        self.host: NDArray[np.uint8] = np.frombuffer(pinned, np.uint8, nbytes)

    def send(self, begin: int, nbytes: int, stream: int) -> int:
        """Queue a copy of host bytes, `begin` and following, to the device memory; return their address there."""
        self._copy(self.pointer + begin, self.host.ctypes.data + begin, nbytes, "memcpyHostToDevice", stream)
        return self.pointer + begin

    def send_to(self, pointer: int, nbytes: int, stream: int) -> None:
        """Queue a copy of the first host bytes to another device address."""
        self._copy(pointer, self.host.ctypes.data, nbytes, "memcpyHostToDevice", stream)

    def fetch(self, nbytes: int, stream: int) -> None:
        """Queue a copy of the first device bytes to the host memory."""
        self._copy(self.host.ctypes.data, self.pointer, nbytes, "memcpyDeviceToHost", stream)

    def hand_over(self, pointer: int, nbytes: int, stream: int) -> None:
        """Queue a copy of the first device bytes to another device address."""
        self._copy(pointer, self.pointer, nbytes, "memcpyDeviceToDevice", stream)

    def _copy(self, to: int, source: int, nbytes: int, kind: str, stream: int) -> None:
        runtime = self._cuda.runtime
        runtime.memcpyAsync(to, source, nbytes, getattr(runtime, kind), stream)


class Staging:
    """Uploads host images through one pinned block."""

    def __init__(self, cupy: Any) -> None:
        """Begin without memory; the first images say how much is needed."""
        self._cupy = cupy
        self._block: Block | None = None
        self._capacity = 0

    def send(self, images: Sequence[NDArray[Any]], stream: int) -> list[DeviceView]:
        """Copy arrays into pinned memory, queue their upload, and return them on the device.

        One is uploaded while the next is copied. Earlier uploads must be complete.
        """
        if not images:
            return []
        block = self._reserve(sum(aligned(image.nbytes) for image in images))
        views, begin = [], 0
        for image in images:
            _pack(image, block, begin)
            views.append(DeviceView(block.send(begin, image.nbytes, stream), image.shape, image.dtype))
            begin += aligned(image.nbytes)
        return views

    def send_to(self, pointer: int, array: NDArray[Any], stream: int) -> None:
        """Copy an array into pinned memory, and queue its upload to a device address of the caller's."""
        block = self._reserve(array.nbytes)
        _pack(array, block, 0)
        block.send_to(pointer, array.nbytes, stream)

    def _reserve(self, nbytes: int) -> Block:
        if self._block is None or self._capacity < nbytes:
            # Free the old block first: both need not fit. If the allocation fails, the next call tries again.
            self._block, self._capacity = None, 0
            # A quarter more, as an allocation stalls the device: slowly growing images need not allocate each time.
            capacity = aligned(nbytes + nbytes // 4)
            self._block, self._capacity = Block(self._cupy, capacity), capacity
        return self._block


def _pack(image: NDArray[Any], block: Block, begin: int) -> None:
    place = block.host[begin : begin + image.nbytes].view(image.dtype).reshape(image.shape)
    np.copyto(place, image)
