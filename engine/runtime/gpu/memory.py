"""Memory of a GPU session: device blocks with pinned host copies, their layout, and views for the operators."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
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

    def send(self, nbytes: int, stream: int, to: int | None = None) -> None:
        """Queue a copy of the first host bytes to the device memory, or to another device address."""
        runtime = self._cuda.runtime
        pointer = self.pointer if to is None else to
        runtime.memcpyAsync(pointer, self.host.ctypes.data, nbytes, runtime.memcpyHostToDevice, stream)

    def fetch(self, nbytes: int, stream: int) -> None:
        """Queue a copy of the first device bytes to the host memory."""
        runtime = self._cuda.runtime
        runtime.memcpyAsync(self.host.ctypes.data, self.pointer, nbytes, runtime.memcpyDeviceToHost, stream)


class StreamMemory:
    """Stream-ordered device memory on a caller's stream, freed with the last array in it.

    Attributes:
        pointer: its address.
    """

    def __init__(self, cupy: Any, nbytes: int, stream: int, device: int) -> None:
        """Queue the allocation on a device, which must be the current one."""
        self._cupy, self._nbytes, self._stream, self._device = cupy, nbytes, stream, device
        self.pointer = 0
        self.pointer = cupy.cuda.runtime.mallocAsync(nbytes, stream)

    def arrays(self, layout: Layout) -> dict[str, Any]:
        """Return the outputs as CuPy arrays, which keep this memory alive."""
        cuda = self._cupy.cuda
        memory = cuda.UnownedMemory(self.pointer, self._nbytes, self, self._device)
        return {
            tensor.name: self._cupy.ndarray(
                (layout.batch, *tensor.shape), tensor.dtype, cuda.MemoryPointer(memory, layout.offsets[tensor.name])
            )
            for tensor in layout.tensors
        }

    def __del__(self) -> None:
        """Queue the release on the stream; release at once if the caller has destroyed the stream."""
        if self.pointer == 0:
            return
        cuda = self._cupy.cuda
        error = cuda.runtime.CUDARuntimeError
        # Stream 0 depends on the current device, and this may run in any thread.
        with suppress(error), cuda.Device(self._device):
            try:
                cuda.runtime.freeAsync(self.pointer, self._stream)
            except error:
                cuda.runtime.free(self.pointer)


class Staging:
    """Uploads host images: packed into one pinned block, sent with one copy."""

    def __init__(self, cupy: Any) -> None:
        """Begin without memory; the first images say how much is needed."""
        self._cupy = cupy
        self._block: Block | None = None
        self._capacity = 0

    def pack(self, images: Sequence[NDArray[Any]]) -> list[int]:
        """Copy arrays into pinned memory and return their offsets. Earlier uploads must be complete."""
        offsets: list[int] = []
        if not images:
            return offsets
        end = 0
        for image in images:
            offsets.append(end)
            end += aligned(image.nbytes)
        block = self._reserve(end)
        for offset, image in zip(offsets, images, strict=True):
            place = block.host[offset : offset + image.nbytes].view(image.dtype).reshape(image.shape)
            np.copyto(place, image)
        return offsets

    def send(self, images: Sequence[NDArray[Any]], offsets: Sequence[int], stream: int) -> list[DeviceView]:
        """Queue the upload of the packed images, and return them on the device."""
        block = self._block
        if block is None or not images:
            return []
        block.send(offsets[-1] + images[-1].nbytes, stream)
        return [
            DeviceView(block.pointer + offset, image.shape, image.dtype)
            for image, offset in zip(images, offsets, strict=True)
        ]

    def send_to(self, pointer: int, nbytes: int, stream: int) -> None:
        """Queue the upload of the packed bytes to another device address."""
        assert self._block is not None
        self._block.send(nbytes, stream, to=pointer)

    def _reserve(self, nbytes: int) -> Block:
        if self._block is None or self._capacity < nbytes:
            # Free the old block first: both need not fit. If the allocation fails, the next call tries again.
            self._block, self._capacity = None, 0
            # A quarter more, as an allocation stalls the device: slowly growing images need not allocate each time.
            capacity = aligned(nbytes + nbytes // 4)
            self._block, self._capacity = Block(self._cupy, capacity), capacity
        return self._block
