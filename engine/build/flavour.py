"""The two packages that build and run engines: TensorRT (10, 11) and TensorRT-RTX, behind one interface."""

from __future__ import annotations

import ctypes
import importlib
import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from engine.build.plugin_library import rtx_alias_path
from engine.errors import BuildError, InvalidArgumentError

RUNTIMES = ("tensorrt", "tensorrt-rtx")
_PACKAGES = {"tensorrt": "tensorrt>=10", "tensorrt-rtx": "tensorrt-rtx-cu13"}

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h
_CAPABILITY_ATTRIBUTES = (75, 76)

_log = logging.getLogger("engine.tensorrt")


@dataclass(frozen=True)
class Flavour:
    """One installed builder.

    Attributes:
        runtime: "tensorrt" or "tensorrt-rtx".
        module: its Python module.
        version: of the package.
    """

    runtime: str
    module: Any
    version: str


def load_flavour(runtime: str) -> Flavour:
    """Import the package of `runtime`: "tensorrt", "tensorrt-rtx" or "auto", which takes the one that is installed.

    Where both are installed "auto" takes TensorRT if it can see a GPU to build for, else TensorRT-RTX.

    Raises:
        InvalidArgumentError: another name.
        BuildError: not installed, too old, or broken; the message says what to install.
    """
    if runtime == "auto":
        return _auto()
    if runtime not in RUNTIMES:
        raise InvalidArgumentError(f"runtime is {runtime!r}, expected auto, {' or '.join(RUNTIMES)}")
    try:
        module = _import(runtime)
    except (ImportError, OSError) as error:
        raise BuildError(
            f"runtime {runtime!r} cannot be imported ({error}): pip install '{_PACKAGES[runtime]}'"
        ) from error
    version = str(module.__version__)
    if runtime == "tensorrt" and int(version.split(".")[0]) < 10:
        raise BuildError(f"TensorRT {version} is too old, expected 10 or later: pip install 'tensorrt>=10'")
    return Flavour(runtime, module, version)


def installed_flavours() -> dict[str, Flavour | str]:
    """For each runtime, what is installed, or why it is not usable."""
    found: dict[str, Flavour | str] = {}
    for runtime in RUNTIMES:
        try:
            found[runtime] = load_flavour(runtime)
        except BuildError as error:
            found[runtime] = str(error)
    return found


def _auto() -> Flavour:
    found = installed_flavours()
    usable = [flavour for flavour in found.values() if isinstance(flavour, Flavour)]
    if not usable:
        raise BuildError("no TensorRT is installed. " + "; ".join(str(reason) for reason in found.values()))
    if len(usable) == 2 and not sees_gpu():
        return usable[1]
    return usable[0]


def sees_gpu() -> bool:
    """Whether the NVIDIA driver is there and reports a device."""
    return bool(gpu_names())


def gpu_names() -> list[str]:
    """Return the names of the GPUs that the NVIDIA driver reports; none without a driver."""
    driver, count = _driver()
    names = []
    for index in range(count):
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names


def compute_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU, which TensorRT builds for; None where there is none."""
    driver, count = _driver()
    if not count:
        return None
    value, capability = ctypes.c_int(0), []
    for attribute in _CAPABILITY_ATTRIBUTES:
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
        capability.append(value.value)
    return capability[0], capability[1]


def _driver() -> tuple[Any, int]:
    """The NVIDIA driver and how many GPUs it reports; none where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return None, 0
    return driver, count.value


def _import(runtime: str) -> ModuleType:
    module = importlib.import_module(runtime.replace("-", "_"))
    if not hasattr(module, "Builder"):
        # Type stubs leave a folder of that name behind, which imports as an empty package.
        raise ImportError("the module has no Builder: only its type stubs are installed")
    if runtime == "tensorrt-rtx":
        _name_rtx_library()
    return module


def _name_rtx_library() -> None:
    """Let the parser find libtensorrt_rtx.so, which the wheel does not ship (cmake/TensorRTRTXAlias.cmake)."""
    try:
        ctypes.CDLL("libtensorrt_rtx.so")
    except OSError:
        alias = rtx_alias_path()
        if alias is None:
            raise ImportError(
                "its parser needs libtensorrt_rtx.so, which the wheel does not ship and this installation of "
                "retinaface-trt lacks: install it again"
            ) from None
        ctypes.CDLL(str(alias))


def make_logger(flavour: Flavour, sink: list[str]) -> Any:
    """Return a TensorRT logger that collects errors in `sink` and passes the rest to Python's logging."""
    trt = flavour.module

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                sink.append(message)
                _log.debug(message)
            elif severity == trt.ILogger.WARNING:
                _log.info(message)
            else:
                _log.debug(message)

    return Logger()
