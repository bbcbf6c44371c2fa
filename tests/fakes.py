"""Recording doubles of cupy and of TensorRT's runtime, for the GPU session's calls without a GPU.

Memory is NumPy's; a stream keeps what is queued on it and runs that only when it is synchronised, so that a result
read too early is wrong here as it would be on a device.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.runtime.cpu import CpuSession
from engine.sidecar import EngineFiles

Log = list[str]


class FakeStream:
    """Queues work until synchronize()."""

    def __init__(self, log: Log) -> None:
        self.log, self.queue, self.ptr = log, list[Callable[[], None]](), 4711

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def synchronize(self) -> None:
        self.log.append("synchronize")
        for work in self.queue:
            work()
        self.queue.clear()


class FakeArray:
    """A device array: copies are queued, addresses are unique."""

    def __init__(self, values: NDArray[Any], log: Log) -> None:
        self.values, self.log = values, log
        self.data = SimpleNamespace(ptr=values.ctypes.data)

    def __getitem__(self, key: slice) -> FakeArray:
        return FakeArray(self.values[key], self.log)

    def set(self, host: NDArray[Any], stream: FakeStream) -> None:
        self.log.append(f"copy in {host.size}")
        stream.queue.append(lambda: np.copyto(self.values, host))

    def get(self, stream: FakeStream, out: NDArray[Any]) -> None:
        self.log.append(f"copy out {out.shape}")
        stream.queue.append(lambda: np.copyto(out, self.values))


class FakeCudaError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""


def fake_cupy(log: Log, devices: int = 1) -> Any:
    """A module like cupy, with what the session uses."""

    class Device:
        def __init__(self, index: int) -> None:
            log.append(f"device {index}")

        def __enter__(self) -> None:
            pass

        def __exit__(self, *exception: object) -> None:
            pass

    streams: list[FakeStream] = []

    def make_stream(non_blocking: bool) -> FakeStream:
        assert non_blocking
        streams.append(FakeStream(log))
        return streams[-1]

    def count() -> int:
        if devices < 0:
            raise FakeCudaError("cudaErrorInsufficientDriver")
        return devices

    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=FakeCudaError)
    memory = SimpleNamespace(OutOfMemoryError=MemoryError)
    return SimpleNamespace(
        cuda=SimpleNamespace(Device=Device, Stream=make_stream, runtime=runtime, memory=memory),
        empty=lambda shape, dtype: FakeArray(np.full(shape, 7, dtype), log),
        streams=streams,
    )


def fake_cupyx() -> Any:
    """A module like cupyx: pinned memory."""
    return SimpleNamespace(empty_pinned=lambda shape, dtype: np.full(shape, 9, dtype))


class FakeTensorRT:
    """A module like tensorrt whose engine computes with the CPU session."""

    __version__ = "10.0"
    Builder = object

    class ILogger:
        """The base of Python loggers."""

        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self, files: EngineFiles, log: Log, cupy: Any) -> None:
        self.files, self.call_log, self.cupy = files, log, cupy
        self.deserialises = self.accepts_shape = self.executes = True
        self.tensor_names = [files.sidecar.io["input"]["name"], *(o["name"] for o in files.sidecar.io["outputs"])]

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        self.logger = logger
        return _Runtime(self)


class _Runtime:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt
        self.engine_host_code_allowed = False

    def get_plugin_registry(self) -> Any:
        def load(path: str) -> str:
            self.trt.call_log.append("load plugins")
            return path

        return SimpleNamespace(load_library=load)

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self.trt.call_log.append(f"deserialize, host code {self.engine_host_code_allowed}")
        if not self.trt.deserialises:
            self.trt.logger.log(FakeTensorRT.ILogger.ERROR, "The engine plan is for another device")
            return None
        assert plan == self.trt.files.plan
        names = self.trt.tensor_names
        return SimpleNamespace(
            create_execution_context=lambda: _Context(self.trt),
            num_io_tensors=len(names),
            get_tensor_name=lambda i: names[i],
        )


class _Context:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt, self.addresses = trt, dict[str, int]()
        self.shape: tuple[int, ...] = ()
        self.cpu = CpuSession(trt.files)

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.trt.call_log.append(f"shape {name} {tuple(shape)}")
        self.shape = tuple(shape)
        return self.trt.accepts_shape

    def execute_async_v3(self, stream: int) -> bool:
        self.trt.call_log.append(f"execute on {stream}")
        if not self.trt.executes:
            self.trt.logger.log(FakeTensorRT.ILogger.ERROR, "an illegal memory access was encountered")
            return False
        (queue,) = [s.queue for s in self.trt.cupy.streams if s.ptr == stream]
        queue.append(self._compute)
        return True

    def _compute(self) -> None:
        batch = self._at("images", self.shape, np.float32).copy()
        raw = self.cpu.run(batch)
        for name, values in (
            ("num_detections", raw.num_detections),
            ("boxes", raw.boxes),
            ("scores", raw.scores),
            ("landmarks", raw.landmarks),
        ):
            assert values is not None
            self._at(name, values.shape, values.dtype)[...] = values

    def _at(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        import ctypes

        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = (ctypes.c_char * count).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)
