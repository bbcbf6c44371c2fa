"""Running an engine on a GPU with TensorRT or TensorRT-RTX; cupy holds the memory and the stream."""

from __future__ import annotations

import copy
import importlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.build.flavour import Flavour, load_flavour, make_logger
from engine.build.plan import load_plugins
from engine.build.plugin_library import plugin_library
from engine.errors import BuildError, DeviceError, EngineLoadError, InferenceError
from engine.runtime.session import RawDetections
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles
from engine.types import FloatArray, Image

if TYPE_CHECKING:
    import tensorrt

    from engine.preprocess import Letterbox

_DTYPES = {"float32": np.float32, "int32": np.int32}


def open_tensorrt_session(files: EngineFiles, index: int, trust_embedded_plugins: bool = False) -> TensorRTSession:
    """Open a session on GPU `index` with the runtime that built the engine.

    Raises:
        DeviceError: cupy is missing or there is no such GPU.
        EngineLoadError: the runtime or the plugin library differs from the sidecar or refuses the engine, or the engine
            carries plugins that were not said to be trusted.
    """
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(f"the GPU runtime needs cupy ({error}): pip install cupy-cuda13x") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"cupy cannot use the NVIDIA driver: {error}. Install the cupy for its version") from error
    if not 0 <= index < count:
        raise DeviceError(f"device cuda:{index} does not exist: this machine has {count} GPU(s)")
    built = files.sidecar.runtime
    try:
        flavour = load_flavour(built["name"])
    except BuildError as error:
        raise EngineLoadError(f"{files.path} was built with {built['name']} {built['version']}: {error}") from error
    if flavour.version != built["version"]:
        raise EngineLoadError(
            f"{files.path} was built with {built['name']} {built['version']}, but {flavour.version} is installed. "
            f"Install that version, or rebuild: {files.sidecar.rebuild_command(files.path)}"
        )
    if files.sidecar.plugins["embedded"] and not trust_embedded_plugins:
        raise EngineLoadError(
            f"{files.path} carries its plugin library, native code that would run here. If you trust "
            "where it comes from, say so with trust_embedded_plugins=True (--trust-embedded-plugins)"
        )
    try:
        return TensorRTSession(files, flavour, cupy, index)
    except BuildError as error:
        raise EngineLoadError(f"{files.path} cannot be loaded: {error}") from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.memory.OutOfMemoryError) as error:
        raise DeviceError(f"cuda:{index} cannot hold {files.path}: {error}") from error


class TensorRTSession:
    """One execution context with its stream and its buffers, sized for the largest batch; one run at a time."""

    def __init__(self, files: EngineFiles, flavour: Flavour, cupy: Any, index: int) -> None:
        """Deserialise the engine and allocate; see open_tensorrt_session for the errors."""
        self.device = f"cuda:{index}"
        self.runtime = f"{flavour.runtime} {flavour.version}"
        self._trt, self._cupy = flavour.module, cupy
        self._errors: list[str] = []
        self._one_run = threading.Lock()
        self._io = files.sidecar.io
        self._device = cupy.cuda.Device(index)
        with self._device:
            self._engine = self._deserialise(files, flavour)
            self._prepare(files)

    def _prepare(self, files: EngineFiles) -> None:
        with self._device:
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
            context: tensorrt.IExecutionContext | None = self._engine.create_execution_context()
            if context is None:
                raise EngineLoadError(self._because(f"no execution context for {files.path}"))
            self._context = context
            self._files = files
            self._check_tensors(files)
            self._allocate()

    def clone(self) -> TensorRTSession:
        """See Session.clone."""
        other = copy.copy(self)
        other._one_run = threading.Lock()
        other._prepare(self._files)
        return other

    def close(self) -> None:
        """See Session.close."""

    def run(self, batch: FloatArray) -> RawDetections:
        """See Session.run."""
        n = len(batch)
        count = batch.size
        try:
            with self._one_run, self._device, self._stream:
                self._host_input[:count] = batch.reshape(-1)
                self._input[:count].set(self._host_input[:count], stream=self._stream)
                if not self._context.set_input_shape(self._io["input"]["name"], batch.shape):
                    raise InferenceError(self._because(f"the engine refused an input of shape {batch.shape}"))
                if not self._context.execute_async_v3(self._stream.ptr):
                    raise InferenceError(self._because(f"the engine failed on a batch of shape {batch.shape}"))
                for name, buffer in self._outputs.items():
                    buffer[:n].get(stream=self._stream, out=self._host_outputs[name][:n])
                self._stream.synchronize()
                # Copies: the pinned buffers are written again by the next run.
                results = {name: host[:n].copy() for name, host in self._host_outputs.items()}
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            raise InferenceError(f"CUDA failed on a batch of shape {batch.shape}: {error}") from error
        return RawDetections(results["num_detections"], results["boxes"], results["scores"], results.get("landmarks"))

    def detect(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """See Session.detect."""
        batch = letterbox.batch(images)
        watch.lap("letterbox")
        raw = self.run(batch)
        watch.lap("network")
        return raw

    def _deserialise(self, files: EngineFiles, flavour: Flavour) -> tensorrt.ICudaEngine:
        runtime: tensorrt.Runtime = self._trt.Runtime(make_logger(flavour, self._errors))
        plugins = files.sidecar.plugins
        if plugins["embedded"]:
            # The plan carries our plugin library, which the runtime would else refuse to load.
            runtime.engine_host_code_allowed = True
        else:
            library = plugin_library()
            if library.sha256 != plugins["library_sha256"]:
                raise EngineLoadError(
                    f"{files.path} was built with another plugin library (SHA-256 {plugins['library_sha256'][:12]}..., "
                    f"installed {library.sha256[:12]}...). Rebuild: {files.sidecar.rebuild_command(files.path)}, or "
                    "build with --embed-plugins"
                )
            load_plugins(flavour, runtime.get_plugin_registry(), library, self._errors)
        engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(files.plan)
        if engine is None:
            raise EngineLoadError(
                self._because(f"{flavour.runtime} {flavour.version} cannot load {files.path} on {self.device}")
                + f". It was built for {', '.join(files.sidecar.targets)}. Rebuild: "
                + files.sidecar.rebuild_command(files.path)
            )
        self._runtime = runtime  # the engine needs it alive
        return engine

    def _check_tensors(self, files: EngineFiles) -> None:
        names = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        expected = {self._io["input"]["name"], *(output["name"] for output in self._io["outputs"])}
        if names != expected:
            raise EngineLoadError(f"{files.path} has tensors {sorted(names)}, its sidecar names {sorted(expected)}")

    def _allocate(self) -> None:
        """Allocate for the largest input: addresses never change, so shapes alone are set per run."""
        cupyx = importlib.import_module("cupyx")
        spec = self._io["input"]
        count = int(np.prod(spec["maximum"]))
        self._input = self._cupy.empty(count, np.float32)
        self._host_input = cupyx.empty_pinned((count,), np.float32)
        self._context.set_tensor_address(spec["name"], self._input.data.ptr)
        self._outputs: dict[str, Any] = {}
        self._host_outputs: dict[str, Any] = {}
        for output in self._io["outputs"]:
            shape = (spec["maximum"][0], *output["shape"][1:])
            dtype = _DTYPES[output["dtype"]]
            self._outputs[output["name"]] = self._cupy.empty(shape, dtype)
            self._host_outputs[output["name"]] = cupyx.empty_pinned(shape, dtype)
            self._context.set_tensor_address(output["name"], self._outputs[output["name"]].data.ptr)

    def _because(self, what: str) -> str:
        reasons = "; ".join(dict.fromkeys(self._errors[-4:]))
        self._errors.clear()
        return f"{what}: {reasons}" if reasons else what
