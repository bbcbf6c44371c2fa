"""Results that stay on the device: CuPy arrays, whose memory is allocated and freed in the order of a stream."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

from engine.runtime.gpu.arrays import CallersStream
from engine.runtime.gpu.memory import Layout

_KEEP_ALL = 2**64 - 1  # bytes


class ResultPool:
    """A memory pool on one device that keeps what is freed.

    The device's default pool gives free memory back to the system at every synchronisation, and asks for it again.

    Attributes:
        cupy: the module.
        device: index of the GPU.
        handle: of the pool.
    """

    def __init__(self, cupy: Any, device: int) -> None:
        """Create it."""
        self.cupy, self.device = cupy, device
        self._left: deque[int] = deque()
        runtime = cupy.cuda.runtime
        self.handle = 0
        self.handle = runtime.memPoolCreate(
            runtime.MemPoolProps(
                runtime.cudaMemAllocationTypePinned,
                runtime.cudaMemHandleTypeNone,
                runtime.cudaMemLocationTypeDevice,
                device,
            )
        )
        runtime.memPoolSetAttribute(self.handle, runtime.cudaMemPoolAttrReleaseThreshold, _KEEP_ALL)

    def free(self, pointer: int, stream: CallersStream) -> None:
        """Free memory of the pool after the work that uses it; never raises a CUDA error.

        CUDA refuses while a stream is captured. Then the memory is freed before the next allocation.
        """
        cuda = self.cupy.cuda
        try:
            # Stream 0 depends on the current device, and this may run in any thread.
            with cuda.Device(self.device):
                if stream.is_kept:
                    cuda.runtime.freeAsync(pointer, stream.handle)
                else:
                    self._free_after_all_work(pointer)
        except cuda.runtime.CUDARuntimeError:
            self._left.append(pointer)

    def free_what_was_left(self) -> None:
        """Free what CUDA has refused to free before; the pool's device must be the current one."""
        for _ in range(len(self._left)):
            with suppress(IndexError):  # another thread took it
                pointer = self._left.popleft()
                try:
                    self._free_after_all_work(pointer)
                except self.cupy.cuda.runtime.CUDARuntimeError:
                    self._left.append(pointer)
                    return

    def _free_after_all_work(self, pointer: int) -> None:
        self.cupy.cuda.runtime.deviceSynchronize()
        self.cupy.cuda.runtime.free(pointer)  # does not wait by itself for memory of a pool

    def __del__(self) -> None:
        """Destroy the pool, which happens when its last memory has been freed."""
        if self.handle != 0:
            with suppress(Exception):  # the interpreter may be exiting
                with self.cupy.cuda.Device(self.device):
                    self.free_what_was_left()
                self.cupy.cuda.runtime.memPoolDestroy(self.handle)


class StreamMemory:
    """Memory of a pool, for a caller's stream; freed with the last array in it.

    It is freed in the stream's order if the stream still exists then: it is a default stream, or the caller gave an
    object, which this memory keeps alive. Behind a bare handle there may be no stream any more, or another one. So that
    is not touched, and freeing waits for the device.

    Attributes:
        pointer: its address.
    """

    def __init__(self, pool: ResultPool, nbytes: int, stream: CallersStream) -> None:
        """Queue the allocation on the pool's device, which must be the current one."""
        self._pool, self._nbytes, self._stream = pool, nbytes, stream
        self.pointer = 0
        pool.free_what_was_left()
        self.pointer = pool.cupy.cuda.runtime.mallocFromPoolAsync(nbytes, pool.handle, stream.handle)

    def arrays(self, layout: Layout) -> dict[str, Any]:
        """Return the outputs as CuPy arrays, which keep this memory alive."""
        cupy = self._pool.cupy
        memory = cupy.cuda.UnownedMemory(self.pointer, self._nbytes, self, self._pool.device)
        return {
            tensor.name: cupy.ndarray(
                (layout.batch, *tensor.shape),
                tensor.dtype,
                cupy.cuda.MemoryPointer(memory, layout.offsets[tensor.name]),
            )
            for tensor in layout.tensors
        }

    def __del__(self) -> None:
        """Free the memory after the work that uses it."""
        if self.pointer != 0:
            self._pool.free(self.pointer, self._stream)
