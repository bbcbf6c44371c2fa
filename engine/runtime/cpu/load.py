"""Loading a network on the CPU: with OpenVINO if it is installed, else with ONNX Runtime."""

from __future__ import annotations

import importlib.util
import logging

from engine.config.formats import QUANTISED_PRECISIONS
from engine.errors import EngineLoadError, InvalidArgumentError
from engine.runtime.cpu.protocol import CpuRuntime, CpuSettings
from engine.untrusted.onnx_file import refuse_external_data

_log = logging.getLogger("engine")

CPU_RUNTIMES = ("openvino", "onnxruntime")


def openvino_is_installed() -> bool:
    """Return whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def load_network(network: bytes, settings: CpuSettings, library: str | None = None) -> CpuRuntime:
    """Load a network with one of CPU_RUNTIMES; None is the first that is installed and can run it.

    A quantised network runs on OpenVINO only if that computes it as written: see runtime.cpu.faithful.

    Raises:
        InvalidArgumentError: the library is unknown.
        EngineLoadError: the library is not installed or cannot run the network, or the network keeps values elsewhere.
    """
    if library is not None and library not in CPU_RUNTIMES:
        raise InvalidArgumentError(f"the CPU runtime is {library!r}, expected one of: {', '.join(CPU_RUNTIMES)}")
    try:
        refuse_external_data(network)
    except InvalidArgumentError as error:
        raise EngineLoadError(f"the network cannot be used: it {error}") from error
    if library == "openvino" or (library is None and openvino_is_installed()):
        from engine.runtime.cpu.faithful import load_faithful
        from engine.runtime.cpu.openvino import OpenVinoRuntime

        load = load_faithful if settings.precision in QUANTISED_PRECISIONS else OpenVinoRuntime
        try:
            return load(network, settings)
        except EngineLoadError as error:
            if library is not None:
                raise
            _log.warning("%s: running it with ONNX Runtime.", error)
    from engine.runtime.cpu.ort import OnnxRuntime

    if library is None and settings.precision in QUANTISED_PRECISIONS:
        _log.warning(
            "ONNX Runtime computes %s networks in float32, which is slower than an fp32 engine: install openvino, or "
            "build an fp32 engine for CPUs.",
            settings.precision,
        )
    return OnnxRuntime(network, settings)
