"""A double of cupy that calls the CUDA emulator's runtime library; the real cupy cannot be bound to it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.backends import CUDA_RUNTIME, for_emulator

_NON_BLOCKING, _DISABLE_TIMING = 1, 2


class CudaRuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int, name: str) -> None:
        super().__init__(name)
        self.status = status


class Cupy:
    """The modules cupy, cupy.cuda and cupy.cuda.runtime in one, as far as the GPU session uses them."""

    CUDARuntimeError, OutOfMemoryError = CudaRuntimeError, MemoryError
    streamCaptureModeThreadLocal, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 1, 2, 3  # noqa: N815
    cudaMemAllocationTypePinned, cudaMemHandleTypeNone, cudaMemLocationTypeDevice = 1, 0, 1  # noqa: N815
    cudaMemPoolAttrReleaseThreshold = 4  # noqa: N815

    def __init__(self, folder: Path) -> None:
        """Load the library by its path, so that it is the instance that the kernels use."""
        self._library = ctypes.CDLL(str(for_emulator(folder / CUDA_RUNTIME)), mode=ctypes.RTLD_GLOBAL)
        self._library.cudaGetErrorName.restype = ctypes.c_char_p
        self.cuda = self.runtime = self.memory = self
        self.copies: list[str] = []

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library; integers are passed as 64 bits, like pointers, handles and sizes."""
        wide = [ctypes.c_uint64(a) if isinstance(a, int) else a for a in arguments]
        status = getattr(self._library, f"cuda{name}")(*wide)
        if status != 0:
            self._library.cudaGetLastError()
            raise CudaRuntimeError(status, self._library.cudaGetErrorName(status).decode())

    def handle(self, name: str, *arguments: Any) -> int:
        """Call a function that returns a pointer or a handle through its first argument."""
        result = ctypes.c_uint64()
        self.call(name, ctypes.byref(result), *arguments)
        return result.value

    def getDeviceCount(self) -> int:  # noqa: N802
        return self.handle("GetDeviceCount")

    def Device(self, index: int) -> Any:  # noqa: N802
        assert index == 0
        return _Current()

    def Stream(self, *, non_blocking: bool = True) -> EmulatedStream:  # noqa: N802
        return EmulatedStream(self, self.handle("StreamCreateWithFlags", _NON_BLOCKING if non_blocking else 0))

    def Event(self, disable_timing: bool = False) -> EmulatedEvent:  # noqa: N802
        return EmulatedEvent(self, self.handle("EventCreateWithFlags", _DISABLE_TIMING if disable_timing else 0))

    def get_elapsed_time(self, begin: EmulatedEvent, end: EmulatedEvent) -> float:
        result = ctypes.c_float()
        self.call("EventElapsedTime", ctypes.byref(result), begin.ptr, end.ptr)
        return result.value

    def Memory(self, nbytes: int) -> EmulatedMemory:  # noqa: N802
        return EmulatedMemory(self, self.handle("Malloc", nbytes), "Free", nbytes)

    def PinnedMemory(self, nbytes: int) -> EmulatedMemory:  # noqa: N802
        return EmulatedMemory(self, self.handle("HostAlloc", nbytes, 0), "FreeHost", nbytes)

    def PinnedMemoryPointer(self, memory: EmulatedMemory, offset: int) -> Any:  # noqa: N802
        buffer: Any = (ctypes.c_char * memory.size).from_address(memory.ptr + offset)
        buffer.memory = memory  # keeps the memory alive
        return buffer

    def UnownedMemory(self, pointer: int, nbytes: int, owner: object, device: int) -> Pointer:  # noqa: N802
        return Pointer(pointer, owner)

    def MemoryPointer(self, memory: Pointer, offset: int) -> Pointer:  # noqa: N802
        return Pointer(memory.ptr + offset, memory)

    def ndarray(self, shape: tuple[int, ...], dtype: Any, memptr: Pointer) -> DeviceNdarray:
        return DeviceNdarray(shape, np.dtype(dtype), memptr)

    def MemPoolProps(self, kind: int, handles: int, location: int, device: int) -> Any:  # noqa: N802
        room = 256  # bytes, more than the structure has
        return (ctypes.c_int * (room // 4))(kind, handles, location, device)

    def memPoolCreate(self, properties: Any) -> int:  # noqa: N802
        return self.handle("MemPoolCreate", ctypes.byref(properties))

    def memPoolSetAttribute(self, pool: int, attribute: int, value: int) -> None:  # noqa: N802
        self.call("MemPoolSetAttribute", pool, attribute, ctypes.byref(ctypes.c_uint64(value)))

    def memPoolDestroy(self, pool: int) -> None:  # noqa: N802
        self.call("MemPoolDestroy", pool)

    def mallocFromPoolAsync(self, nbytes: int, pool: int, stream: int) -> int:  # noqa: N802
        return self.handle("MallocFromPoolAsync", nbytes, pool, stream)

    def deviceSynchronize(self) -> None:  # noqa: N802
        self.call("DeviceSynchronize")

    def streamIsCapturing(self, stream: int) -> bool:  # noqa: N802
        status = ctypes.c_int()
        self.call("StreamIsCapturing", stream, ctypes.byref(status))
        return status.value != 0

    def freeAsync(self, pointer: int, stream: int) -> None:  # noqa: N802
        self.call("FreeAsync", pointer, stream)

    def free(self, pointer: int) -> None:
        self.call("Free", pointer)

    def memcpyAsync(self, to: int, source: int, nbytes: int, kind: int, stream: int) -> None:  # noqa: N802
        self.copies.append(("in", "out", "across")[kind - 1])
        self.call("MemcpyAsync", to, source, nbytes, kind, stream)

    def streamWaitEvent(self, stream: int, event: int) -> None:  # noqa: N802
        self.call("StreamWaitEvent", stream, event, 0)

    def eventRecord(self, event: int, stream: int) -> None:  # noqa: N802
        self.call("EventRecord", event, stream)


@dataclass
class EmulatedStream:
    """cupy.cuda.Stream."""

    cupy: Cupy
    ptr: int

    def synchronize(self) -> None:
        self.cupy.call("StreamSynchronize", self.ptr)

    def begin_capture(self, mode: int) -> None:
        self.cupy.call("StreamBeginCapture", self.ptr, mode)

    def end_capture(self) -> Graph:
        graph = ctypes.c_uint64()
        self.cupy.call("StreamEndCapture", self.ptr, ctypes.byref(graph))
        return Graph(self.cupy, self.cupy.handle("GraphInstantiate", graph.value, 0))

    def __del__(self) -> None:
        self.cupy.call("StreamDestroy", self.ptr)


@dataclass
class Graph:
    """cupy.cuda.Graph."""

    cupy: Cupy
    ptr: int

    def launch(self, stream: EmulatedStream) -> None:
        self.cupy.copies.append("graph")
        self.cupy.call("GraphLaunch", self.ptr, stream.ptr)

    def __del__(self) -> None:
        self.cupy.call("GraphExecDestroy", self.ptr)


@dataclass
class EmulatedEvent:
    """cupy.cuda.Event."""

    cupy: Cupy
    ptr: int

    def record(self, stream: EmulatedStream) -> None:
        self.cupy.call("EventRecord", self.ptr, stream.ptr)

    def __del__(self) -> None:
        self.cupy.call("EventDestroy", self.ptr)


@dataclass
class EmulatedMemory:
    """cupy.cuda.Memory and PinnedMemory."""

    cupy: Cupy
    ptr: int
    free: str
    size: int

    def __del__(self) -> None:
        self.cupy.call(self.free, self.ptr)


@dataclass
class Pointer:
    """cupy.cuda.MemoryPointer and UnownedMemory."""

    ptr: int
    owner: object


@dataclass
class DeviceNdarray:
    """cupy.ndarray, with the attributes that the session uses."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    memptr: Pointer

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.memptr.ptr, False), "version": 3}


class _Current:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass
