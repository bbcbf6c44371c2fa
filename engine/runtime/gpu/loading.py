"""A deserialised engine, whose weights on the device are shared by its sessions."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.backend.plugin_library import PLUGIN_VERSIONS, PluginLibrary, plugin_library
from engine.backend.tensorrt import Backend, load_plugins, make_logger
from engine.errors import EngineLoadError
from engine.runtime.gpu.failures import Health
from engine.runtime.gpu.memory import Tensor
from engine.runtime.gpu.results import ResultPool
from engine.runtime.gpu.rtx import RtxRuntime
from engine.sidecar import EngineFiles
from engine.sidecar.content import Shape
from engine.text import printable

if TYPE_CHECKING:
    import tensorrt

_log = logging.getLogger("engine")


class LoadedEngine:
    """An engine on one GPU.

    Attributes:
        cupy: the module.
        index: of the GPU.
        device: "cuda:N".
        runtime: name and version of the TensorRT.
        health: of CUDA in this process.
        input_name: of the input tensor.
        input_dtype: of its values, float32 or float16.
        largest: shape of the largest input.
        outputs: the output tensors.
        profiles: least and largest input of each optimisation profile.
        cuda_graphs: whether sessions capture CUDA graphs; TensorRT-RTX does so itself.
    """

    def __init__(self, files: EngineFiles, backend: Backend, cupy: Any, index: int, *, cuda_graphs: bool) -> None:
        """Deserialise.

        Raises:
            EngineLoadError: the runtime or the plugin library refuses the engine.
            BuildError: the plugin library cannot be loaded.
        """
        self.cupy, self.device = cupy, f"cuda:{index}"
        self.runtime = f"{backend.runtime} {backend.version}"
        self.health = Health(cupy, self.device)
        self._files, self._backend = files, backend
        self._errors: list[str] = []
        self.index = index
        io = files.sidecar.io
        self.input_name, self.largest = io.input.name, io.input.maximum
        self.input_dtype = np.dtype(io.input.dtype)
        self.outputs = tuple(
            Tensor(output.name, np.dtype(output.dtype), tuple(map(int, output.shape[1:]))) for output in io.outputs
        )
        with self.current():
            self._engine = self._deserialise()
            self._check_tensors()
            self.profiles = tuple(self._profile(i) for i in range(self._engine.num_optimization_profiles))
            self._rtx: RtxRuntime | None = None
            if backend.runtime == "tensorrt-rtx":
                self._rtx = RtxRuntime(backend.module, self._engine, files.path, cuda_graphs=cuda_graphs)
        self.cuda_graphs = cuda_graphs and self._rtx is None

    @cached_property
    def results(self) -> ResultPool:
        """The pool for results that stay on the device, which must be current; made when it is first needed."""
        return ResultPool(self.cupy, self.index)

    def __del__(self) -> None:
        """Destroy the engine while its GPU is current."""
        with suppress(Exception), self.current():  # the interpreter may be exiting, or the GPU lost
            for name in ("_rtx", "_engine", "_runtime"):
                vars(self).pop(name, None)

    def current(self) -> Any:
        """Return a context manager that makes the GPU the thread's current one."""
        return self.cupy.cuda.Device(self.index)  # a new one: threads must not share the stack inside

    def allocate_activations(self) -> Any:
        """Allocate activation memory for contexts that run one at a time; None where each allocates its own."""
        if self._rtx is not None:
            return None
        engine = self._engine
        # For the profile that needs most. Without the suffix it is deprecated, and all that TensorRT 10.0 has.
        size = engine.device_memory_size_v2 if hasattr(engine, "device_memory_size_v2") else engine.device_memory_size
        return self.cupy.cuda.Memory(int(size))

    def profile_for(self, shape: Shape) -> int:
        """Return the index of the optimisation profile for an input: the one for the smallest batches that takes it.

        The first if none takes it, whose refusal has TensorRT's reason.
        """
        fitting = [
            (most[0], index)
            for index, (least, most) in enumerate(self.profiles)
            if all(low <= extent <= high for low, extent, high in zip(least, shape, most, strict=True))
        ]
        return min(fitting, default=(0, 0))[1]

    def create_context(self, activations: Any, profile: int, stream: int) -> tensorrt.IExecutionContext:
        """Create an execution context; the GPU must be current.

        Args:
            activations: from allocate_activations(); keep them as long as the context.
            profile: index of its optimisation profile.
            stream: of the context's runs, which must follow the copies that choosing a profile may queue.

        Raises:
            EngineLoadError: the runtime refuses.
        """
        create: Any = self._engine.create_execution_context
        if self._rtx is not None:
            how = self._rtx.config
        else:
            how = self._backend.module.ExecutionContextAllocationStrategy.USER_MANAGED
        context: tensorrt.IExecutionContext | None = create(how)
        if context is None:
            raise EngineLoadError(self.because(f"no execution context for {self._files.path}"))
        if activations is not None:
            _give_memory(context, activations)
        if profile != 0 and not context.set_optimization_profile_async(profile, stream):  # new contexts have the first
            raise EngineLoadError(self.because(f"{self._files.path} refused its optimisation profile {profile}"))
        return context

    def save_compiled(self) -> None:
        """Save the kernels that TensorRT-RTX compiled, for later processes."""
        if self._rtx is not None and not self.health.is_lost:
            self._rtx.save()

    def because(self, what: str) -> str:
        """Append the errors that TensorRT logged since the last call to `what`."""
        reasons = "; ".join(dict.fromkeys(self._errors[-4:]))
        self._errors.clear()
        return f"{what}: {reasons}" if reasons else what

    def _deserialise(self) -> tensorrt.ICudaEngine:
        files, backend = self._files, self._backend
        runtime: tensorrt.Runtime = backend.module.Runtime(make_logger(backend, self._errors))
        if files.sidecar.plugins.embedded:
            # Without it the runtime refuses the plugin library in the plan.
            runtime.engine_host_code_allowed = True
        else:
            library = plugin_library()
            self._check_plugins(library)
            load_plugins(backend, runtime.get_plugin_registry(), library, self._errors)
        engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(files.plan)
        if engine is None:
            raise EngineLoadError(
                self.because(f"{backend.runtime} {backend.version} cannot load {files.path} on {self.device}")
                + f". It was built for {', '.join(files.sidecar.targets)}. Rebuild: "
                + files.sidecar.rebuild_command(files.path)
            )
        self._runtime = runtime  # the engine needs it alive
        return engine

    def _check_plugins(self, library: PluginLibrary) -> None:
        plugins, path = self._files.sidecar.plugins, self._files.path
        others = {n: version for n, version in plugins.versions.items() if version not in PLUGIN_VERSIONS.get(n, ())}
        if others:
            listed = ", ".join(f"{name} {version}" for name, version in others.items())
            known = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in PLUGIN_VERSIONS.items())
            raise EngineLoadError(
                f"{path} needs the plugins {listed}, but those installed are {known}. Rebuild: "
                f"{self._files.sidecar.rebuild_command(path)}, or build with --embed-plugins"
            )
        if library.sha256 != plugins.library_sha256:
            _log.info(
                "%s was built with another compilation of the same plugins (SHA-256 %.12s, installed %.12s)",
                printable(str(path)),
                plugins.library_sha256,
                library.sha256,
            )

    def _profile(self, index: int) -> tuple[Shape, Shape]:
        shapes: Any = self._engine.get_tensor_profile_shape(self.input_name, index)
        least, _, largest = map(tuple, shapes)
        return least, largest

    def _check_tensors(self) -> None:
        engine, trt = self._engine, self._backend.module
        numpy_types = {trt.float32: "float32", trt.float16: "float16", trt.int32: "int32"}
        names = sorted(engine.get_tensor_name(i) for i in range(engine.num_io_tensors))
        types = [engine.get_tensor_dtype(name) for name in names]
        found = [f"{name} ({numpy_types.get(kind, kind)})" for name, kind in zip(names, types, strict=True)]
        dtypes = {self.input_name: self.input_dtype, **{output.name: output.dtype for output in self.outputs}}
        expected = [f"{name} ({dtypes[name]})" for name in sorted(dtypes)]
        if found != expected:
            raise EngineLoadError(
                f"{self._files.path} has the tensors {', '.join(found)}, its sidecar names {', '.join(expected)}"
            )


def _give_memory(context: Any, memory: Any) -> None:
    if hasattr(context, "set_device_memory"):
        context.set_device_memory(int(memory.ptr), int(memory.size))
    else:  # TensorRT 10.0
        context.device_memory = int(memory.ptr)
