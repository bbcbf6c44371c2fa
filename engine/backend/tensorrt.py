"""The two packages that build and run engines: TensorRT (10, 11) and TensorRT-RTX, behind one interface."""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from engine.backend.driver import sees_gpu
from engine.backend.plugin_library import PluginLibrary, rtx_alias_path
from engine.errors import BuildError, InvalidArgumentError
from engine.text import printable

if TYPE_CHECKING:
    import tensorrt

RUNTIMES = ("tensorrt", "tensorrt-rtx")
_PACKAGES = {"tensorrt": "tensorrt>=10", "tensorrt-rtx": "tensorrt-rtx-cu13"}

_log = logging.getLogger("engine.tensorrt")


@dataclass(frozen=True)
class Backend:
    """One installed builder.

    Attributes:
        runtime: "tensorrt" or "tensorrt-rtx".
        module: its Python module.
        version: of the package.
    """

    runtime: str
    module: Any
    version: str

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.runtime} {self.version}"


def load_backend(runtime: str) -> Backend:
    """Import "tensorrt", "tensorrt-rtx" or, with "auto", the installed one of the two.

    If both are installed, "auto" is TensorRT on a machine with a GPU, else TensorRT-RTX.

    Raises:
        InvalidArgumentError: the name is unknown.
        BuildError: it is not installed, too old, or broken; the message says what to install.
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
    return Backend(runtime, module, version)


def installed_backends() -> dict[str, Backend | str]:
    """Return, for each runtime, its backend, or the reason why it is not usable."""
    found: dict[str, Backend | str] = {}
    for runtime in RUNTIMES:
        try:
            found[runtime] = load_backend(runtime)
        except BuildError as error:
            found[runtime] = str(error)
    return found


def _auto() -> Backend:
    found = installed_backends()
    usable = [backend for backend in found.values() if isinstance(backend, Backend)]
    if not usable:
        raise BuildError("no TensorRT is installed. " + "; ".join(str(reason) for reason in found.values()))
    if len(usable) == 2 and not sees_gpu():
        return usable[1]
    return usable[0]


def _import(runtime: str) -> ModuleType:
    module = importlib.import_module(runtime.replace("-", "_"))
    if not hasattr(module, "Builder"):
        # A folder of type stubs imports as an empty package.
        raise ImportError("the module has no Builder: only its type stubs are installed")
    if runtime == "tensorrt-rtx":
        _name_rtx_library()
    return module


def _name_rtx_library() -> None:
    """Load libtensorrt_rtx.so for the parser; the wheel does not contain it (see cmake/TensorRTRTXAlias.cmake)."""
    try:
        ctypes.CDLL("libtensorrt_rtx.so")
    except OSError:
        alias = rtx_alias_path()
        if alias is None:
            raise ImportError(
                "its parser needs libtensorrt_rtx.so, which this installation of retinaface-trt lacks: install "
                "retinaface-trt again"
            ) from None
        ctypes.CDLL(str(alias))


def make_logger(backend: Backend, sink: list[str]) -> Any:
    """Return a TensorRT logger that collects errors in `sink` and passes the rest to Python's logging."""
    trt = backend.module

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            message = printable(message)
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                sink.append(message)
                _log.debug(message)
            elif severity == trt.ILogger.WARNING:
                _log.info(message)
            else:
                _log.debug(message)

    return Logger()


def load_plugins(
    backend: Backend, registry: tensorrt.IPluginRegistry, library: PluginLibrary, errors: list[str]
) -> None:
    """Load the plugin library into a registry of TensorRT, once a process."""
    if registry.load_library(str(library.path)) is None and registry.get_creator("RetinaFaceNMS", "1", "") is None:
        raise BuildError(because(f"{backend.title} cannot load the plugin library {library.path}", errors))


def because(what: str, reasons: Sequence[str]) -> str:
    """Append the errors of TensorRT to a message."""
    unique = list(dict.fromkeys(reason.strip() for reason in reasons if reason.strip()))
    return f"{what}: {'; '.join(unique[:4])}" if unique else f"{what}; it gave no reason"
