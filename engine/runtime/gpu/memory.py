"""Memory of a GPU session: blocks with a pinned twin, the outputs' places in one, and views for the operators."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# What cudaMalloc aligns to; every tensor begins at a multiple of it.
ALIGNMENT = 256


def aligned(nbytes: int) -> int:
    """Return the smallest multiple of ALIGNMENT from `nbytes`."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class DeviceView:
    """Device memory as the operators take it; who makes the view keeps the memory."""

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
    """Where the outputs for one size of batch lie in a block: one after the other, so that one copy takes them all.

    Attributes:
        offsets: in bytes, by name.
        nbytes: of all of them.
    """

    tensors: tuple[Tensor, ...]
    batch: int
    offsets: dict[str, int]
    nbytes: int

    def copies(self, block: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs in the bytes of a block, as arrays of their own."""
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
    """Device memory and a pinned twin on the host, from which copies run without a detour.

    Attributes:
        pointer: of the device memory.
        host: the twin's bytes.
    """

    def __init__(self, cupy: Any, nbytes: int) -> None:
        """Allocate, from CUDA itself: a pool would keep the memory of a closed session."""
        self._cuda = cupy.cuda
        self._device = cupy.cuda.Memory(nbytes)
        pinned = cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(nbytes), 0)
        self.pointer = int(self._device.ptr)
        self.host: NDArray[np.uint8] = np.frombuffer(pinned, np.uint8, nbytes)

    def send(self, nbytes: int, stream: int, to: int | None = None) -> None:
        """Queue a copy of the twin's first bytes to the device memory, or to another place on the device."""
        runtime = self._cuda.runtime
        pointer = self.pointer if to is None else to
        runtime.memcpyAsync(pointer, self.host.ctypes.data, nbytes, runtime.memcpyHostToDevice, stream)

    def fetch(self, nbytes: int, stream: int) -> None:
        """Queue a copy of the first bytes to the twin."""
        runtime = self._cuda.runtime
        runtime.memcpyAsync(self.host.ctypes.data, self.pointer, nbytes, runtime.memcpyDeviceToHost, stream)


class StreamMemory:
    """Device memory in the order of a caller's stream, which goes when the arrays in it have gone.

    Attributes:
        pointer: its address.
    """

    def __init__(self, cupy: Any, nbytes: int, stream: int, device: int) -> None:
        """Allocate on a device, which is the current one, once the stream has come so far."""
        self._cupy, self._nbytes, self._stream, self._device = cupy, nbytes, stream, device
        self.pointer = 0
        self.pointer = cupy.cuda.runtime.mallocAsync(nbytes, stream)

    def arrays(self, layout: Layout) -> dict[str, Any]:
        """Return the outputs as CuPy arrays, which keep this memory."""
        cuda = self._cupy.cuda
        memory = cuda.UnownedMemory(self.pointer, self._nbytes, self, self._device)
        return {
            tensor.name: self._cupy.ndarray(
                (layout.batch, *tensor.shape), tensor.dtype, cuda.MemoryPointer(memory, layout.offsets[tensor.name])
            )
            for tensor in layout.tensors
        }

    def __del__(self) -> None:
        """Free it once the stream has come so far; at once where the caller has destroyed the stream."""
        if self.pointer == 0:
            return
        cuda = self._cupy.cuda
        error = cuda.runtime.CUDARuntimeError
        # Stream 0 means another one on each device: this may run in a thread, or at a time, where another is current.
        with suppress(error), cuda.Device(self._device):
            try:
                cuda.runtime.freeAsync(self.pointer, self._stream)
            except error:
                cuda.runtime.free(self.pointer)


class Staging:
    """The way of host images to the device: packed into one block, copied at once."""

    def __init__(self, cupy: Any) -> None:
        """Begin without memory: the first images say how much is needed."""
        self._cupy = cupy
        self._block: Block | None = None
        self._capacity = 0

    def pack(self, images: Sequence[NDArray[Any]]) -> list[int]:
        """Copy arrays into pinned memory, and return where each one begins. The former copies must be done."""
        offsets: list[int] = []
        if not images:
            return offsets
        end = 0
        for image in images:
            offsets.append(end)
            end += aligned(image.nbytes)
        block = self._room_for(end)
        for offset, image in zip(offsets, images, strict=True):
            place = block.host[offset : offset + image.nbytes].view(image.dtype).reshape(image.shape)
            np.copyto(place, image)
        return offsets

    def send(self, images: Sequence[NDArray[Any]], offsets: Sequence[int], stream: int) -> list[DeviceView]:
        """Queue the copy of what was packed, and return the images on the device."""
        block = self._block
        if block is None or not images:
            return []
        block.send(offsets[-1] + images[-1].nbytes, stream)
        return [
            DeviceView(block.pointer + offset, image.shape, image.dtype)
            for image, offset in zip(images, offsets, strict=True)
        ]

    def send_to(self, pointer: int, nbytes: int, stream: int) -> None:
        """Queue the copy of what was packed to another place on the device."""
        assert self._block is not None
        self._block.send(nbytes, stream, to=pointer)

    def _room_for(self, nbytes: int) -> Block:
        if self._block is None or self._capacity < nbytes:
            # Gone before the new one comes, so that both need not fit; without either, the next call tries again.
            self._block, self._capacity = None, 0
            # A quarter more: images that grow little by little shall not allocate each time, which stalls the device.
            capacity = aligned(nbytes + nbytes // 4)
            self._block, self._capacity = Block(self._cupy, capacity), capacity
        return self._block
