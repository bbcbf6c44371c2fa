"""Running networks with OpenVINO."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.cpu.openvino_graph import deform_conv, fold_scales, remove_bf16_rounding, remove_quantisation
from engine.runtime.cpu.protocol import CpuSettings
from engine.runtime.forking import keep_for_ever, renew_in_child
from engine.types import FloatArray


def _import() -> Any:
    """Import OpenVINO, without its reports to its maker unless the process has asked for them before.

    It would fork a process to send each, and wait for it at the end: for ever if the fork copied a closed lock.
    """
    telemetry = "openvino_telemetry"
    if telemetry in sys.modules or "openvino" in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[telemetry] = None  # type: ignore[assignment]  # importing it fails
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[telemetry]


def _load_plugin(openvino: Any) -> tuple[Any, Collection[str]]:
    """Return a core whose CPU plugin is loaded, and what that can do.

    A thread loads it that ends: the plugin gives the thread a small stack for signal handlers, and frees the stack when
    the last user of the core ends, in whatever thread. From then on a signal to the former thread, whose handler asks
    for that stack as Python's do, would end the process.
    """

    def load() -> tuple[Any, Collection[str]]:
        core = openvino.Core()
        return core, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    with ThreadPoolExecutor(1, "openvino") as loader:
        return loader.submit(load).result()


class OpenVinoRuntime:
    """See CpuRuntime.

    The input size of the settings has a network compiled for it alone; other sizes share a dynamic one.
    """

    channels_last = True

    def __init__(
        self,
        network: bytes,
        settings: CpuSettings,
        *,
        kernels: Literal["8-bit", "float32", "unquantised"] = "8-bit",
    ) -> None:
        """Load a network and compile it for its size.

        Args:
            network: an ONNX file.
            settings: how to run it.
            kernels: for a quantised network: "8-bit"; "float32" on quantised values; or "unquantised", float32 on
                unquantised activations, with the quantised weights.

        Raises:
            EngineLoadError: OpenVINO is not installed, or cannot run the network.
        """
        try:
            self._openvino = _import()
        except (ImportError, OSError) as error:
            raise EngineLoadError(f"OpenVINO cannot be imported ({error}): pip install openvino") from error
        self.name = f"OpenVINO {self._openvino.__version__.partition('-')[0]}"
        if kernels != "8-bit":
            self.name += f" ({'quantised values' if kernels == 'float32' else 'unquantised'} in float32)"
        self._kernels = kernels
        self._settings = settings
        self._compiling = threading.Lock()
        self._compiled: dict[tuple[tuple[int, int] | None, bool], Any] = {}
        self._core, capabilities = _load_plugin(self._openvino)
        in_bf16 = settings.precision == "bf16" and "BF16" in capabilities
        # By default OpenVINO would compute float32 in bfloat16 if the processor has it: 8 bits of mantissa, not 24.
        self._hint = "bf16" if in_bf16 else "f32"
        try:
            self._model = self._read(network)
            if in_bf16:
                remove_bf16_rounding(self._model)
            if kernels == "unquantised":
                remove_quantisation(self._model)
            else:
                fold_scales(self._model)
            self.compiled(settings.size, alone=True)
        except Exception as error:  # RuntimeError and others
            raise EngineLoadError(f"{self.name} cannot run the network ({_reason(error)})") from error
        renew_in_child(self)

    def start_anew(self) -> None:
        """See Renewable: compiles anew at the next run."""
        keep_for_ever(self._compiled)
        self._compiling, self._compiled = threading.Lock(), {}

    def runner(self, *, alone: bool) -> OpenVinoRunner:
        """See CpuRuntime.runner."""
        return OpenVinoRunner(self, alone)

    def compiled(self, size: tuple[int, int] | None, *, alone: bool) -> Any:
        """Return the network compiled for an input size or any size, for one run at a time or for parallel runs.

        Raises:
            InferenceError: OpenVINO cannot compile it.
        """
        key = (size if size == self._settings.size else None, alone or self._settings.threads == 1)
        with self._compiling:
            if key not in self._compiled:
                try:
                    self._compiled[key] = self._compile(*key)
                except Exception as error:  # RuntimeError and others
                    raise InferenceError(f"{self.name} cannot compile the network: {_reason(error)}") from error
            return self._compiled[key]

    def tensor(self, array: FloatArray) -> Any:
        """Return an OpenVINO tensor on an array's memory."""
        return self._openvino.Tensor(array, shared_memory=True)

    def head_ports(self, compiled: Any) -> list[Any]:
        """Return the heads' outputs of a compiled network."""
        return [compiled.output(name) for name in self._settings.heads]

    def _read(self, network: bytes) -> Any:
        onnx_frontend = importlib.import_module("openvino.frontend.onnx")
        # Its ONNX frontend lacks DeformConv; its CPU plugin has the operator.
        self._core.add_extension(onnx_frontend.ConversionExtension("DeformConv", deform_conv))
        return self._core.read_model(network)

    def _compile(self, size: tuple[int, int] | None, alone: bool) -> Any:
        model = self._model.clone()
        shape = model.input(0).get_partial_shape()
        shape[0] = 1
        for axis, side in zip((2, 3), size or (), strict=False):
            shape[axis] = side
        model.reshape(shape)
        steps = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
        # Its convolutions want NHWC. The letterbox can write that at no cost; a transposition takes 5 % of the time of
        # mobilenet0.25.
        steps.input().tensor().set_layout(self._openvino.Layout("NHWC"))
        steps.input().model().set_layout(self._openvino.Layout("NCHW"))
        threads = self._settings.threads
        options = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1 if alone else threads,
            # With pinning, several detectors would all use the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if self._kernels != "8-bit":
            options["LP_TRANSFORMS_MODE"] = False
        return self._core.compile_model(steps.build(), "CPU", options)


class OpenVinoRunner:
    """See Runner."""

    def __init__(self, runtime: OpenVinoRuntime, alone: bool) -> None:
        """Run on a network of the runtime's."""
        self._runtime, self._alone = runtime, alone
        self._input: FloatArray = np.empty((1, 0, 0, 3), np.float32)

    def input(self, height: int, width: int) -> FloatArray:
        """See Runner.input."""
        if self._input.shape[1:3] != (height, width):
            buffer = np.empty((1, height, width, 3), np.float32)
            compiled = self._runtime.compiled((height, width), alone=self._alone)
            try:
                request = compiled.create_infer_request()
                request.set_input_tensor(self._runtime.tensor(buffer))
                ports = self._runtime.head_ports(compiled)
            except Exception as error:  # RuntimeError and others
                raise InferenceError(
                    f"{self._runtime.name} cannot take an input of {height} x {width}: {_reason(error)}"
                ) from error
            # Only after all of this has succeeded: else the runner stays as it was.
            self._input, self._request, self._ports = buffer, request, ports
        return self._input

    def run(self) -> list[FloatArray]:
        """See Runner.run."""
        self._request.infer()
        return [self._request.get_tensor(port).data for port in self._ports]


def _reason(error: Exception) -> str:
    """Return the last line of OpenVINO's message; the others name places in its sources."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
