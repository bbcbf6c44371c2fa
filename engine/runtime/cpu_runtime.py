"""What runs a network on the CPU: OpenVINO where it is installed, else ONNX Runtime."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from typing import Protocol

from engine.errors import EngineLoadError, InvalidArgumentError
from engine.precision.options import QUANTISED_PRECISIONS
from engine.types import FloatArray

_log = logging.getLogger("engine")

CPU_RUNTIMES = ("openvino", "onnxruntime")
MAX_THREADS = 1024


@dataclass(frozen=True)
class CpuSettings:
    """How to run a network.

    Attributes:
        heads: names of its outputs, in the order that a runner gives them.
        precision: what its types say, one of engine.precision.typed.PRECISIONS.
        threads: at most, of all runs together.
        size: (height, width) of the input to be fastest at; None is no size in particular.
        mean: of the normalisation of its input, from pixels of 0 to 255.
        std: likewise.
    """

    heads: tuple[str, ...]
    precision: str
    threads: int
    size: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Runner(Protocol):
    """A network with buffers of its own, which takes one image at a time."""

    def input(self, height: int, width: int) -> FloatArray:
        """Return the array to fill with a normalised image: [1, 3, H, W], or [1, H, W, 3] where channels come last.

        Raises:
            InferenceError: the network cannot run at this size.
        """

    def run(self) -> list[FloatArray]:
        """Run on what was filled in and return the heads, [1, C, h, w]: arrays that the next run writes again."""


class CpuRuntime(Protocol):
    """A loaded network.

    Attributes:
        name: of the library, with its version.
        channels_last: whether runners take [1, H, W, 3].
    """

    name: str
    channels_last: bool

    def runner(self, *, alone: bool) -> Runner:
        """Make a runner that uses all threads, or one of several that run beside each other on a thread each."""


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int | None) -> int:
    """Return the number of threads that an option means; None is all cores.

    Raises:
        InvalidArgumentError: not a number from 1.
    """
    if threads is None:
        return available_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise InvalidArgumentError(f"threads is {threads!r}, expected 1 to {MAX_THREADS}, or None for all cores")
    return threads


def openvino_is_installed() -> bool:
    """Return whether OpenVINO can be imported; it is not imported here."""
    return importlib.util.find_spec("openvino") is not None


def load_network(network: bytes, settings: CpuSettings, library: str | None = None) -> CpuRuntime:
    """Load a network with one of CPU_RUNTIMES; None is the first that is installed and can run it.

    A quantised network runs on OpenVINO only as far as that gives what the network says: see runtime.faithful.

    Raises:
        InvalidArgumentError: no such library.
        EngineLoadError: the library is not installed, or cannot run the network.
    """
    if library is not None and library not in CPU_RUNTIMES:
        raise InvalidArgumentError(f"the CPU runtime is {library!r}, expected one of: {', '.join(CPU_RUNTIMES)}")
    if library == "openvino" or (library is None and openvino_is_installed()):
        from engine.runtime.faithful import load_faithful
        from engine.runtime.openvino import OpenVinoRuntime

        load = load_faithful if settings.precision in QUANTISED_PRECISIONS else OpenVinoRuntime
        try:
            return load(network, settings)
        except EngineLoadError as error:
            if library is not None:
                raise
            _log.warning("%s: running it with ONNX Runtime.", error)
    from engine.runtime.ort import OnnxRuntime

    if library is None and settings.precision in QUANTISED_PRECISIONS:
        _log.warning(
            "ONNX Runtime computes %s networks in float32, slower than an fp32 engine: install openvino, or build fp32 "
            "for CPUs.",
            settings.precision,
        )
    return OnnxRuntime(network, settings)
