"""Results that stay on the device: CuPy arrays, whose memory is allocated and freed in the order of a stream."""

from __future__ import annotations

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

    def __del__(self) -> None:
        """Destroy the pool, which happens when its last memory has been freed."""
        if self.handle != 0:
            with suppress(Exception):  # the interpreter may be exiting
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
        if self.pointer == 0:
            return
        cuda = self._pool.cupy.cuda
        # Stream 0 depends on the current device, and this may run in any thread.
        with suppress(cuda.runtime.CUDARuntimeError), cuda.Device(self._pool.device):
            if self._stream.is_kept:
                cuda.runtime.freeAsync(self.pointer, self._stream.handle)
            else:
                cuda.runtime.deviceSynchronize()
                cuda.runtime.free(self.pointer)  # does not wait by itself for memory of a pool
