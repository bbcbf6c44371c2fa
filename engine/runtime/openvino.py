"""Networks on OpenVINO."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.cpu_runtime import CpuSettings
from engine.types import FloatArray


class OpenVinoRuntime:
    """See CpuRuntime.

    The size that is to be fastest gets a network compiled for it alone; others share one that takes any.
    """

    channels_last = True

    def __init__(self, network: bytes, settings: CpuSettings) -> None:
        """Load a network and compile it for its size.

        Raises:
            EngineLoadError: OpenVINO is not installed, or cannot run the network.
        """
        try:
            self._openvino = importlib.import_module("openvino")
        except (ImportError, OSError) as error:
            raise EngineLoadError(f"OpenVINO cannot be imported ({error}): pip install openvino") from error
        self.name = f"OpenVINO {self._openvino.__version__.partition('-')[0]}"
        self._settings = settings
        self._compiling = threading.Lock()
        self._compiled: dict[tuple[tuple[int, int] | None, bool], Any] = {}
        self._core = self._openvino.Core()
        in_bf16 = settings.precision == "bf16" and "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # Where the processor has bfloat16, OpenVINO takes it by default: 8 bits of mantissa for float32's 24.
        self._hint = "bf16" if in_bf16 else "f32"
        try:
            self._model = self._read(network)
            if in_bf16:
                _remove_rounding(self._model)
            self.compiled(settings.size, alone=True)
        except Exception as error:  # RuntimeError and others
            raise EngineLoadError(f"{self.name} cannot run the network ({_reason(error)})") from error

    def runner(self, *, alone: bool) -> OpenVinoRunner:
        """See CpuRuntime.runner."""
        return OpenVinoRunner(self, alone)

    def compiled(self, size: tuple[int, int] | None, *, alone: bool) -> Any:
        """Return the network compiled for an input size, or for any, and for one run at a time, or for several.

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
        # Its reader of ONNX files lacks DeformConv, which the processor's operators have.
        self._core.add_extension(onnx_frontend.ConversionExtension("DeformConv", _deform_conv))
        return self._core.read_model(network)

    def _compile(self, size: tuple[int, int] | None, alone: bool) -> Any:
        model = self._model.clone()
        shape = model.input(0).get_partial_shape()
        shape[0] = 1
        for axis, side in zip((2, 3), size or (), strict=False):
            shape[axis] = side
        model.reshape(shape)
        steps = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
        # Its convolutions want pixels together: the letterbox writes them so at no cost, a transposition is 5 % of
        # mobilenet0.25.
        steps.input().tensor().set_layout(self._openvino.Layout("NHWC"))
        steps.input().model().set_layout(self._openvino.Layout("NCHW"))
        threads = self._settings.threads
        options = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1 if alone else threads,
            # Bound to cores, two detectors in one process or in two would all take the first ones.
            "ENABLE_CPU_PINNING": False,
        }
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
            self._input = np.empty((1, height, width, 3), np.float32)
            compiled = self._runtime.compiled((height, width), alone=self._alone)
            self._request = compiled.create_infer_request()
            self._request.set_input_tensor(self._runtime.tensor(self._input))
            self._ports = self._runtime.head_ports(compiled)
        return self._input

    def run(self) -> list[FloatArray]:
        """See Runner.run."""
        self._request.infer()
        return [self._request.get_tensor(port).data for port in self._ports]


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's report, whose others tell where in its sources."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _remove_rounding(model: Any) -> None:
    """Take out what rounds float32 to bfloat16 and back: the processor's own instructions do."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or _element_type(node) != "f32":
            continue
        source = node.input_value(0).get_node()
        if source.get_type_name() == "Convert" and _element_type(source) == "bf16":
            node.output(0).replace(source.input_value(0))


def _element_type(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _deform_conv(node: Any) -> list[Any]:
    """Translate ONNX's DeformConv; taps outside the map read zeros, also a part of a pixel outside."""
    operators = importlib.import_module("openvino.opset8")
    x, weight, offset, bias, mask = (_optional_input(node, i) for i in range(5))
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    result = operators.deformable_convolution(
        x,
        offset,
        weight,
        mask=mask,
        strides=node.get_attribute("strides", [1, 1]),
        pads_begin=pads[:2],
        pads_end=pads[2:],
        dilations=node.get_attribute("dilations", [1, 1]),
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,
    )
    if bias is not None:
        by_channel = np.array([1, -1, 1, 1], np.int64)
        result = operators.add(result, operators.reshape(bias, by_channel, special_zero=False))
    return list(result.outputs())


def _optional_input(node: Any, index: int) -> Any:
    """Return an input, or None where the list is shorter or has an empty name."""
    given = node.get_input(index) if index < node.get_input_size() else None
    return None if given is None or given.get_node().get_type_name() == "NullNode" else given
