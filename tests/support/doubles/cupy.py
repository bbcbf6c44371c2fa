"""A double of cupy that records the GPU session's CUDA calls in order, without a GPU.

Device memory is host memory. A stream queues its work and runs it only when something waits for the stream. So a result
that is read too early is wrong, as on a device. A stream that captures records work instead, and a graph launch queues
the recorded work again.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Log = list[str]
Work = Callable[[], None]


class FakeCudaError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, name: str, status: int = 1) -> None:
        super().__init__(name)
        self.status = status


class FakeMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


def host_array(pointer: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return the array at an address, without copying it."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * nbytes).from_address(pointer), dtype).reshape(shape)


class FakeStream:
    """Queues work, and runs it when something waits for the stream."""

    def __init__(self, cuda: FakeCuda, ptr: int) -> None:
        self.cuda, self.ptr = cuda, ptr
        self.queue: list[Work] = []
        self.captured: list[Work] | None = None

    def add(self, work: Work) -> None:
        """Queue work, or record it during a capture."""
        self.cuda.touch()
        (self.queue if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        """Run the queued work."""
        self.cuda.log.append("synchronize")
        assert self.captured is None, "a capturing stream cannot be waited for"
        if self.cuda.sticky is not None:
            raise self.cuda.sticky
        self.run_until(lambda: False)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run the queued work in order until `done`."""
        while self.queue and not done():
            self.queue.pop(0)()

    def begin_capture(self, mode: int) -> None:
        """Record work from now on."""
        assert mode == 1, "the capture mode must be thread-local, or threads would invalidate each other's captures"
        self.cuda.log.append("begin capture")
        self.cuda.touch()
        self.captured = []
        if self.cuda.on_capture is not None:
            self.cuda.on_capture()

    def end_capture(self) -> FakeGraph:
        """Return the recorded work as a graph."""
        self.cuda.log.append("end capture")
        captured, self.captured = self.captured, None
        assert captured is not None
        if self.cuda.captures_to_fail > 0:
            self.cuda.captures_to_fail -= 1
            raise FakeCudaError("cudaErrorStreamCaptureInvalidated", 901)
        return FakeGraph(self.cuda, captured)


@dataclass
class FakeGraph:
    """Recorded work."""

    cuda: FakeCuda
    works: list[Work]

    def launch(self, stream: FakeStream) -> None:
        """Queue the recorded work on a stream."""
        if self.cuda.launch_fails:
            raise FakeCudaError("cudaErrorInvalidResourceHandle", 400)
        self.cuda.log.append(f"replay on {stream.ptr}")
        for work in self.works:
            stream.add(work)


class FakeEvent:
    """A mark in a stream that other streams can wait for."""

    numbers = itertools.count(1)

    def __init__(self, cuda: FakeCuda, disable_timing: bool = False) -> None:
        self.cuda, self.ptr, self.timing = cuda, next(self.numbers), not disable_timing
        self.stream: FakeStream | None = None
        self.time: float | None = None
        self.number = self.reached = 0  # of marks
        cuda.events[self.ptr] = self

    def record(self, stream: FakeStream) -> None:
        """Mark the current position of the stream; each mark is a millisecond after the one before."""
        self.stream, self.time = stream, None
        self.number += 1
        number = self.number
        assert stream.captured is None

        def reached() -> None:
            self.reached = number
            self.cuda.clock += 1
            self.time = self.cuda.clock

        stream.add(reached)

    def wait(self) -> Work:
        """Return what waits until the present mark is reached."""
        stream, number = self.stream, self.number

        def wait() -> None:
            if stream is not None:
                stream.run_until(lambda: self.reached >= number)

        return wait


class FakeMemory:
    """A block of device memory, filled with sevens."""

    def __init__(self, cuda: FakeCuda, nbytes: int) -> None:
        cuda.touch()
        cuda.check_room(cuda.allocated + nbytes)
        self.bytes, self.cuda, self.size = np.full(nbytes + 256, 7, np.uint8), cuda, nbytes
        self.ptr = -(-self.bytes.ctypes.data // 256) * 256
        cuda.allocated += nbytes

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            self.cuda.allocated -= self.size


class FakePinned:
    """Pinned memory, filled with nines."""

    def __init__(self, cuda: FakeCuda, nbytes: int) -> None:
        self.bytes = np.full(nbytes, 9, np.uint8)


@dataclass
class FakeNdarray:
    """cupy.ndarray: a view of memory, which it keeps alive."""

    shape: tuple[int, ...]
    dtype: Any
    memptr: Any

    def read(self) -> NDArray[Any]:
        """Return the values."""
        return host_array(self.memptr.ptr, self.shape, self.dtype).copy()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.memptr.ptr, False)
        return {"shape": self.shape, "typestr": np.dtype(self.dtype).str, "data": data, "stream": 1, "version": 3}


@dataclass
class FakeCuda:
    """The module cupy, and the state behind it.

    Attributes:
        log: the calls so far.
        devices: number of devices; -1 without a usable driver.
        room: bytes of device memory.
        sticky: error that every wait raises.
        captures_to_fail: how many of the next captures fail.
        on_capture: called when a capture has begun.
        launch_fails: whether every graph launch fails.
        device_error: error when a device is made the current one.
        allocated: bytes of device memory in use.
        used: the devices that were current at any call that allocates, queues, captures or frees.
    """

    log: Log
    devices: int = 1
    room: int = 1 << 40
    sticky: FakeCudaError | None = None
    captures_to_fail: int = 0
    on_capture: Callable[[], object] | None = None
    launch_fails: bool = False
    device_error: FakeCudaError | None = None
    allocated: int = 0
    used: set[int] = field(default_factory=set)
    here: threading.local = field(default_factory=threading.local)
    clock: float = 0
    streams: dict[int, FakeStream] = field(default_factory=dict)
    every_stream: list[FakeStream] = field(default_factory=list)
    events: dict[int, FakeEvent] = field(default_factory=dict)
    lent: dict[int, FakeMemory] = field(default_factory=dict)
    pools: dict[int, int] = field(default_factory=dict)

    @property
    def cuda(self) -> FakeCuda:
        """cupy.cuda; its submodules are this object too."""
        return self

    runtime = memory = cuda
    CUDARuntimeError, OutOfMemoryError = FakeCudaError, FakeMemoryError
    streamCaptureModeThreadLocal, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 1, 2, 3  # noqa: N815
    cudaMemAllocationTypePinned, cudaMemHandleTypeNone, cudaMemLocationTypeDevice = 1, 0, 1  # noqa: N815
    cudaMemPoolAttrReleaseThreshold = 4  # noqa: N815
    ndarray = FakeNdarray

    def getDeviceCount(self) -> int:  # noqa: N802
        if self.devices < 0:
            raise FakeCudaError("cudaErrorInsufficientDriver", 35)
        return self.devices

    def __post_init__(self) -> None:
        self.callers_stream(0)  # the default stream

    def Device(self, index: int) -> _Current:  # noqa: N802
        assert index < self.devices
        return _Current(self, index)

    def Stream(self, *, non_blocking: bool) -> FakeStream:  # noqa: N802
        assert non_blocking
        return self.callers_stream(4710 + len(self.streams))

    def get_current_stream(self) -> FakeStream:
        """Return the default stream."""
        return self.streams[0]

    def callers_stream(self, ptr: int) -> FakeStream:
        """Return a new stream with this handle, as if the caller had made it."""
        self.streams[ptr] = FakeStream(self, ptr)
        self.every_stream.append(self.streams[ptr])
        return self.streams[ptr]

    def Event(self, disable_timing: bool = False) -> FakeEvent:  # noqa: N802
        return FakeEvent(self, disable_timing)

    def get_elapsed_time(self, begin: FakeEvent, end: FakeEvent) -> float:
        assert begin.timing
        assert begin.time is not None
        assert end.time is not None
        return end.time - begin.time

    def Memory(self, nbytes: int) -> FakeMemory:  # noqa: N802
        return FakeMemory(self, nbytes)

    def PinnedMemory(self, nbytes: int) -> FakePinned:  # noqa: N802
        return FakePinned(self, nbytes)

    def PinnedMemoryPointer(self, memory: FakePinned, offset: int) -> Any:  # noqa: N802
        return memory.bytes[offset:]

    def UnownedMemory(self, pointer: int, nbytes: int, owner: object, device: int) -> Any:  # noqa: N802
        return _Unowned(pointer, owner)

    def asarray(self, other: Any) -> FakeNdarray:
        """Return an array in the memory of another library's."""
        array = np.asarray(other)
        return FakeNdarray(array.shape, array.dtype, _Unowned(array.ctypes.data, array))

    def MemoryPointer(self, memory: _Unowned, offset: int) -> Any:  # noqa: N802
        return _Unowned(memory.ptr + offset, memory)

    def MemPoolProps(self, kind: int, handles: int, location: int, device: int) -> int:  # noqa: N802
        assert (kind, handles, location) == (1, 0, 1)
        return device

    def memPoolCreate(self, device: int) -> int:  # noqa: N802
        self.pools[len(self.pools) + 1] = 0
        return len(self.pools)

    def memPoolSetAttribute(self, pool: int, attribute: int, value: int) -> None:  # noqa: N802
        assert attribute == 4
        self.pools[pool] = value

    def memPoolDestroy(self, pool: int) -> None:  # noqa: N802
        del self.pools[pool]

    def mallocFromPoolAsync(self, nbytes: int, pool: int, stream: int) -> int:  # noqa: N802
        assert self.pools[pool] == 2**64 - 1, "free memory would be given back to the system at every synchronisation"
        memory = FakeMemory(self, nbytes)
        self.lent[memory.ptr] = memory
        self.log.append(f"allocate on {stream}")
        return memory.ptr

    def freeAsync(self, pointer: int, stream: int) -> None:  # noqa: N802
        assert getattr(self.here, "devices", None)
        self.touch()
        assert stream in self.streams, "a real CUDA may crash, or take another stream"
        self.log.append(f"free on {stream}")
        memory = self.lent.pop(pointer)
        self.streams[stream].add(lambda memory=memory: None)  # type: ignore[misc]  # frees the memory when the stream gets there

    def deviceSynchronize(self) -> None:  # noqa: N802
        self.log.append("synchronize the device")
        for stream in self.every_stream:
            stream.run_until(lambda: False)

    def free(self, pointer: int) -> None:
        """Does not wait for memory of a pool, so that work that still uses it would be wrong."""
        self.touch()
        self.log.append("free")
        assert not any(stream.queue for stream in self.every_stream)
        del self.lent[pointer]

    def streamIsCapturing(self, stream: int) -> bool:  # noqa: N802
        return self.streams[stream].captured is not None

    def memcpyAsync(self, to: int, source: int, nbytes: int, kind: int, stream: int) -> None:  # noqa: N802
        self.log.append(f"copy {('in', 'out', 'across')[kind - 1]} {nbytes} on {stream}")

        def copy() -> None:
            ctypes.memmove(to, source, nbytes)

        self.streams[stream].add(copy)

    def streamWaitEvent(self, stream: int, event: int) -> None:  # noqa: N802
        recorded = self.events[event]
        assert recorded.stream is not None
        self.log.append(f"{stream} waits for {recorded.stream.ptr}")
        self.streams[stream].add(recorded.wait())

    def eventRecord(self, event: int, stream: int) -> None:  # noqa: N802
        self.events[event].record(self.streams[stream])

    def touch(self) -> None:
        """Note the current device of this thread."""
        self.used.add([0, *getattr(self.here, "devices", [])][-1])

    def check_room(self, nbytes: int) -> None:
        """Raise CUDA's error if so many bytes do not fit."""
        if nbytes > self.room:
            raise FakeCudaError("cudaErrorMemoryAllocation: out of memory", 2)


@dataclass
class _Current:
    """cupy.cuda.Device as a context manager."""

    cuda: FakeCuda
    index: int

    def __enter__(self) -> None:
        if self.cuda.device_error is not None:
            raise self.cuda.device_error
        self.cuda.here.devices = [*getattr(self.cuda.here, "devices", []), self.index]

    def __exit__(self, *exception: object) -> None:
        self.cuda.here.devices.pop()


@dataclass
class _Unowned:
    ptr: int
    owner: object
