"""A double of TensorRT's runtime that records the GPU session's calls, without a GPU; it works with cupy.py here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from engine import ops
from engine.runtime.cpu.session import CpuSession
from engine.sidecar import EngineFiles
from tests.support.doubles.cupy import FakeCuda, host_array


def fake_letterbox(cuda: FakeCuda) -> Any:
    """Return a stand-in for engine.ops.letterbox: it queues the CPU's letterbox on a stream of the double."""
    on_cpu = ops.letterbox

    def letterbox(images: Any, size: tuple[int, int], **arguments: Any) -> Any:
        if "stream" not in arguments:
            return on_cpu(images, size, **arguments)
        stream, out = arguments.pop("stream"), [_array_of(view) for view in arguments.pop("out")]
        assert out[0].dtype == arguments.pop("dtype")
        cuda.log.append(f"letterbox {len(images)} on {stream}")
        arrays = [_array_of(view) for view in images]

        def write(kept: Any = images) -> None:
            """Letterbox the images; `kept` keeps them alive until then."""
            for there, here in zip(out, on_cpu(arrays, size, **arguments), strict=True):
                there[...] = here

        cuda.streams[stream].add(write)

    return letterbox


def _array_of(view: Any) -> Any:
    interface = view.__cuda_array_interface__
    return host_array(interface["data"][0], interface["shape"], interface["typestr"])


Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def profiles_of(files: EngineFiles) -> list[Profile]:
    """Return the optimisation profiles that TensorRT's builder gets: for every batch, and for one image alone."""
    spec = files.sidecar.io.input
    every = (spec.minimum, spec.optimum, spec.maximum)
    least, best, largest = ((1, *shape[1:]) for shape in every)
    return [every, (least, best, largest)]


def takes(profile: Profile, shape: tuple[int, ...]) -> bool:
    """Whether a profile has a shape in its range."""
    least, _, largest = profile
    return all(low <= extent <= high for low, extent, high in zip(least, shape, largest, strict=True))


class FakeTensorRT:
    """The module tensorrt, as far as the GPU session uses it; its engine computes with the CPU session."""

    __version__ = "10.0"
    Builder = object

    class ILogger:
        """Base class of Python loggers."""

        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self, files: EngineFiles, cupy: FakeCuda) -> None:
        self.files, self.call_log, self.cupy = files, cupy.log, cupy
        self.cpu = CpuSession(files)
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
        self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph", DISABLED="disabled")
        self.compiled, self.refuses_cache = b"kernels", False
        self.because = "an illegal memory access was encountered"
        self.deserialises = self.creates = self.accepts_shape = self.accepts_address = self.executes = True
        self.activations = 1000
        self.is_10_0 = False
        self.tensor_names = [files.sidecar.io.input.name, *(output.name for output in files.sidecar.io.outputs)]
        self.profiles = profiles_of(files)
        self.accepts_profile = True

    float32, float16, int32 = "float32", "float16", "int32"

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        self.logger = logger
        return _Runtime(self)

    def dtype_of(self, name: str) -> str:
        """Return the type of a tensor of the engine."""
        io = self.files.sidecar.io
        return {io.input.name: io.input.dtype, **{o.name: o.dtype for o in io.outputs}}.get(name, "float32")


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
        return (_OldEngine if self.trt.is_10_0 else _Engine)(self.trt)


class _OldEngine:
    """An ICudaEngine of TensorRT 10.0."""

    context: type[_OldContext]

    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt, self.device_memory_size = trt, trt.activations
        self.num_io_tensors, self.get_tensor_name = len(trt.tensor_names), trt.tensor_names.__getitem__
        self.num_optimization_profiles = len(trt.profiles)
        self.get_tensor_dtype = trt.dtype_of
        trt.cupy.touch()

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Any]:
        assert name == self.trt.tensor_names[0]
        return list(self.trt.profiles[index])

    def create_runtime_config(self) -> _RuntimeConfig:
        return _RuntimeConfig(self.trt)

    def create_execution_context(self, how: Any) -> _OldContext | None:
        self.trt.cupy.touch()
        if isinstance(how, _RuntimeConfig):
            self.trt.call_log.append(f"context with {how.cuda_graph_strategy}, {how.cache}")
        if not self.trt.creates:
            self.trt.logger.log(FakeTensorRT.ILogger.ERROR, "no memory for a context")
            return None
        return self.context(self.trt, how)

    def __del__(self) -> None:
        self.trt.call_log.append("destroy the engine")
        self.trt.cupy.touch()


class _Engine(_OldEngine):
    """Of later versions."""

    def __init__(self, trt: FakeTensorRT) -> None:
        super().__init__(trt)
        self.device_memory_size_v2 = trt.activations


class _RuntimeConfig:
    """TensorRT-RTX's IRuntimeConfig and its runtime cache in one."""

    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt, self.cache, self.cuda_graph_strategy = trt, "no cache", ""

    def create_runtime_cache(self) -> Any:
        return self

    def deserialize(self, content: bytes) -> bool:
        self.trt.call_log.append(f"cached {content!r}")
        return not self.trt.refuses_cache

    def serialize(self) -> bytes:
        return self.trt.compiled

    def set_runtime_cache(self, cache: Any) -> bool:
        assert isinstance(cache, _RuntimeConfig)
        self.cache = "a cache"
        return True


class _OldContext:
    """An IExecutionContext of TensorRT 10.0.

    A graph captured from it becomes invalid when its shape or an address changes.
    """

    def __init__(self, trt: FakeTensorRT, how: Any) -> None:
        self.trt, self.how, self.addresses = trt, how, dict[str, int]()
        self.shape: tuple[int, ...] = ()
        self.profile = 0
        self.cpu = trt.cpu
        self.changes = 0
        self.device_memory: int | None = None

    def __del__(self) -> None:
        self.trt.call_log.append("destroy a context")
        self.trt.cupy.touch()

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.changes += 1
        if not self.trt.accepts_address:
            return False
        self.addresses[name] = pointer
        return True

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.trt.call_log.append(f"profile {index} on {stream}")
        self.profile, self.shape = index, ()
        self.changes += 1
        return self.trt.accepts_profile

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.trt.call_log.append(f"shape {name} {tuple(shape)}")
        self.changes += 1
        if not takes(self.trt.profiles[self.profile], shape):
            self.trt.logger.log(FakeTensorRT.ILogger.ERROR, f"{shape} is outside of profile {self.profile}")
            return False
        if not self.trt.accepts_shape:
            return False
        self.shape = tuple(shape)
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.trt.call_log.append(f"execute on {stream}")
        if not self.trt.executes:
            self.trt.logger.log(FakeTensorRT.ILogger.ERROR, self.trt.because)
            return False
        assert self.how != "user managed" or self.device_memory is not None
        assert self.shape, "the shape must be set after the profile"
        # As on a device, queued and captured work keeps the shape and addresses of this moment.
        shape, addresses, changes = self.shape, dict(self.addresses), self.changes
        captures = self.trt.cupy.streams[stream].captured is not None

        def compute() -> None:
            assert not captures or self.changes == changes, "a graph was launched after its context had changed"
            self._compute(shape, addresses)

        self.trt.cupy.streams[stream].add(compute)
        return True

    def _compute(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        raw = self.cpu.run(host_array(addresses["images"], shape, self.trt.dtype_of("images")).astype(np.float32))
        for name, values in (
            ("num_detections", raw.num_detections),
            ("boxes", raw.boxes),
            ("scores", raw.scores),
            ("landmarks", raw.landmarks),
        ):
            assert values is not None
            assert addresses[name] % 256 == 0
            host_array(addresses[name], values.shape, values.dtype)[...] = values


class _Context(_OldContext):
    """Of later versions."""

    def set_device_memory(self, memory: int, size: int) -> None:
        assert self.how == "user managed"
        assert size >= self.trt.activations
        self.device_memory = memory
        self.changes += 1


_OldEngine.context, _Engine.context = _OldContext, _Context
