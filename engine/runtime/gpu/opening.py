"""Opening an engine on a GPU with TensorRT or TensorRT-RTX; CuPy holds the memory and the streams."""

from __future__ import annotations

import importlib
from typing import Any

from engine.backend.tensorrt import load_backend
from engine.errors import BuildError, DeviceError, EngineLoadError
from engine.runtime.gpu.loading import LoadedEngine
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.session import DEFAULT_OPTIONS, RuntimeOptions
from engine.sidecar import EngineFiles


def load_cupy(index: int) -> Any:
    """Import CuPy for GPU `index`.

    Raises:
        DeviceError: it is missing, or there is no such GPU.
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
    return cupy


def open_tensorrt_session(files: EngineFiles, index: int, options: RuntimeOptions = DEFAULT_OPTIONS) -> TensorRTSession:
    """Open a session on GPU `index` with the runtime that built the engine.

    Raises:
        DeviceError: cupy is missing or there is no such GPU.
        EngineLoadError: the runtime or the plugin library differs from the sidecar or refuses the engine, or the engine
            carries plugins and `options` do not trust them.
    """
    cupy = load_cupy(index)
    built = files.sidecar.runtime
    try:
        backend = load_backend(built.name)
    except BuildError as error:
        raise EngineLoadError(f"{files.path} was built with {built.name} {built.version}: {error}") from error
    if backend.version != built.version:
        raise EngineLoadError(
            f"{files.path} was built with {built.name} {built.version}, but {backend.version} is installed. "
            f"Install that version, or rebuild: {files.sidecar.rebuild_command(files.path)}"
        )
    if files.sidecar.plugins.embedded and not options.trust_embedded_plugins:
        raise EngineLoadError(
            f"{files.path} carries its plugin library, native code that would run on this machine. If you trust its "
            "source, pass trust_embedded_plugins=True (--trust-embedded-plugins)"
        )
    try:
        return TensorRTSession(LoadedEngine(files, backend, cupy, index, cuda_graphs=options.cuda_graphs))
    except BuildError as error:
        raise EngineLoadError(f"{files.path} cannot be loaded: {error}") from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.memory.OutOfMemoryError) as error:
        raise DeviceError(f"cuda:{index} cannot hold {files.path}: {error}") from error
