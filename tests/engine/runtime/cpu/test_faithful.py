"""Quantised networks on OpenVINO: the transformed graph, and the fallback where 8-bit kernels compute other values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import EngineLoadError
from engine.runtime.cpu import faithful
from engine.runtime.cpu.load import load_network
from engine.runtime.cpu.openvino import OpenVinoRuntime
from engine.runtime.cpu.ort import OnnxRuntime
from engine.runtime.cpu.protocol import CpuRuntime, CpuSettings

pytest.importorskip("openvino")

SIZE = (24, 40)
SETTINGS = CpuSettings(("logits_8",), "int8", 1, SIZE, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
IN_FLOAT32 = "quantised values in float32"
TYPES = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}


class _Network:
    """Two convolutions, concatenated, before a third; all of them quantised, as the builder writes it."""

    def __init__(self, rng: np.random.Generator, kind: str = "int8", float_type: int = TensorProto.FLOAT) -> None:
        self._kind, self._type = TYPES[kind], float_type
        self._largest = 127 if kind == "int8" else 448
        self.nodes: list[onnx.NodeProto] = []
        self._weights = [helper.make_tensor("zero", self._kind, [], [0])]
        self.floats: dict[str, NDArray[np.float32]] = {}
        self._node("Cast", ["images"], "inner", to=float_type)
        pixels = self._quantised("inner", 150.0)
        # Weights up to 40: even without VNNI the sum of two products fits in 16 bits.
        parts = [self._convolution(rng, f"part{i}", pixels, 3, 8, 0.02) for i in range(2)]
        for i, part in enumerate(parts):
            self._node("Relu", [part], f"active{i}")
        moved = [self._quantised(f"active{i}", 4.0) for i in range(2)]
        self._node("Concat", moved, "both", axis=1)
        last = self._convolution(rng, "last", self._quantised("both", 4.0), 16, 4, 1.0)
        self._node("Cast", [last], "logits_8", to=TensorProto.FLOAT)

    def content(self) -> bytes:
        """The ONNX file."""
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *SIZE])
        head = helper.make_tensor_value_info("logits_8", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "graph", [image], [head], self._weights)
        return bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()
        )

    def unquantised(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The head without rounding of activations, computed by loops over the taps."""

        def convolve(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
            weight = self.floats[name]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            height, width = x.shape[1:]
            taps = [(i, j) for i in range(3) for j in range(3)]
            shifted = {(i, j): padded[:, i : i + height, j : j + width] for i, j in taps}
            return np.asarray(sum(np.einsum("oc,chw->ohw", weight[:, :, i, j], shifted[i, j]) for i, j in taps))

        active = [np.maximum(convolve(image, f"part{i}"), 0) for i in range(2)]
        return convolve(np.concatenate(active), "last")

    def _convolution(
        self, rng: np.random.Generator, name: str, source: str, inputs: int, outputs: int, gain: float
    ) -> str:
        grid = rng.integers(-40, 41, (outputs, inputs, 3, 3))
        steps = gain * rng.uniform(0.5, 1.5, outputs) / (40 * 3 * np.sqrt(inputs))
        scale = numpy_helper.from_array(steps.astype(helper.tensor_dtype_to_np_dtype(self._type)), f"{name}_scale")
        self._weights += [
            helper.make_tensor(f"{name}_grid", self._kind, grid.shape, grid.ravel()),
            helper.make_tensor(f"{name}_zero", self._kind, [outputs], [0] * outputs),
            scale,
        ]
        stored = numpy_helper.to_array(self._weights[-3]).astype(np.float32)
        self.floats[name] = stored * numpy_helper.to_array(scale).astype(np.float32)[:, None, None, None]
        self._node("DequantizeLinear", [f"{name}_grid", f"{name}_scale", f"{name}_zero"], f"{name}_dq", axis=0)
        self._node("Conv", [source, f"{name}_dq"], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        return name

    def _quantised(self, name: str, largest: float) -> str:
        scale = np.array(largest / self._largest, helper.tensor_dtype_to_np_dtype(self._type))
        self._weights.append(numpy_helper.from_array(scale, f"{name}_scale"))
        self._node("QuantizeLinear", [name, f"{name}_scale", "zero"], f"{name}_q")
        self._node("DequantizeLinear", [f"{name}_q", f"{name}_scale", "zero"], f"{name}_dq")
        return f"{name}_dq"

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))


def _heads(network: CpuRuntime, image: NDArray[np.float32]) -> NDArray[np.float32]:
    runner = network.runner(alone=True)
    runner.input(*image.shape[1:])[0] = image.transpose(1, 2, 0) if network.channels_last else image
    head: NDArray[np.float32] = runner.run()[0][0].copy()
    return head


def _image(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.uniform(-120, 140, (3, *SIZE)).astype(np.float32)


def _rms(difference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(difference).mean()))


@pytest.mark.parametrize("float_type", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("kernels", ["8-bit", "float32"])
def test_openvino_gives_what_the_graph_says(rng: np.random.Generator, kernels: Any, float_type: int) -> None:
    content, image = _Network(rng, float_type=float_type).content(), _image(rng)
    written = _heads(OnnxRuntime(content, SETTINGS, optimise=False), image)
    given = _heads(OpenVinoRuntime(content, SETTINGS, kernels=kernels), image)
    # The few sums halfway between two steps are rounded either way; quantisation changes the heads by .003 to .006. In
    # float16 the graph rounds sums and heads, OpenVINO does not.
    assert _rms(given - written) < (0.0025 if float_type == TensorProto.FLOAT16 else 0.0005)


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_not_quantised_has_no_rounding(rng: np.random.Generator, kind: str) -> None:
    network, image = _Network(rng, kind), _image(rng)
    given = _heads(OpenVinoRuntime(network.content(), SETTINGS, kernels="unquantised"), image)
    # Sums of 27 and 144 products in float32, in another order.
    np.testing.assert_allclose(given, network.unquantised(image), atol=1e-3)


@pytest.mark.parametrize("kind", TYPES)
def test_the_fastest_that_agrees_is_taken(
    rng: np.random.Generator, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="engine"):
        network = load_network(_Network(rng, kind).content(), replace(SETTINGS, precision=kind))
    assert isinstance(network, OpenVinoRuntime)
    assert IN_FLOAT32 not in network.name
    assert not caplog.records


@pytest.fixture
def break_8_bits(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Adds a number to the heads of 8-bit kernels, since it depends on the processor whether real ones err."""
    original = OpenVinoRuntime.__init__

    def add(number: float) -> None:
        def broken(self: Any, network: bytes, settings: CpuSettings, *, kernels: Any = "8-bit") -> None:
            original(self, _plus(network, number) if kernels == "8-bit" else network, settings, kernels=kernels)

        monkeypatch.setattr(OpenVinoRuntime, "__init__", broken)

    return add


@pytest.mark.parametrize("library", [None, "openvino"])
def test_where_8_bits_differ_float32_computes_them(
    rng: np.random.Generator,
    library: str | None,
    break_8_bits: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    break_8_bits(0.05)  # ten times what quantisation changes
    content, image = _Network(rng).content(), _image(rng)
    with caplog.at_level(logging.WARNING, logger="engine"):
        network = load_network(content, SETTINGS, library)
    assert network.name.startswith("OpenVINO 20")
    assert IN_FLOAT32 in network.name
    assert "their error is" in caplog.text
    assert _rms(_heads(network, image) - _heads(OnnxRuntime(content, SETTINGS, optimise=False), image)) < 0.0005


def test_where_nothing_agrees_the_graph_runs_as_it_is_written(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(faithful, "LARGEST_ERROR", 0.0)
    content = _Network(rng).content()
    with caplog.at_level(logging.WARNING, logger="engine"):
        assert load_network(content, SETTINGS).name.startswith("ONNX Runtime")
    assert "running it with ONNX Runtime" in caplog.text
    with pytest.raises(EngineLoadError, match=r"do not compute this network as written.*expected at most.*in float32"):
        load_network(content, SETTINGS, "openvino")


def test_heads_that_are_no_numbers_agree_with_nothing(
    rng: np.random.Generator, break_8_bits: Callable[[float], None]
) -> None:
    break_8_bits(np.nan)
    assert IN_FLOAT32 in load_network(_Network(rng).content(), SETTINGS).name


def _plus(content: bytes, number: float) -> bytes:
    model = onnx.load_from_string(content)
    model.graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), "number"))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "number"], ["logits_8"]))
    return bytes(model.SerializeToString())
