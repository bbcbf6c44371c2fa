"""Standard ONNX files with DeformConv in TensorRT-RTX's builder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from .test_builder import LOG, TYPES, build, builder, parse, trt  # noqa: F401  (builder is a fixture)


def model(dtype: str, opset: int, inputs: tuple[str, ...], attributes: dict[str, Any]) -> bytes:
    """Return a model: convolutions for x, offset and mask, a DeformConv of 16 to 24 channels, a convolution."""
    type_ = TYPES[dtype]
    rng = np.random.default_rng(0)
    weights = {"wx": (16, 3, 3, 3), "wo": (18, 16, 3, 3), "wm": (9, 16, 3, 3), "w": (24, 16, 3, 3), "b": (24,)}
    weights["wy"] = (8, 24, 1, 1)
    constants = [
        helper.make_tensor(name, type_, shape, rng.normal(size=shape).ravel().tolist())
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "wx"], ["x"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "wo"], ["offset"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "wm"], ["mask"], pads=[1] * 4),
        helper.make_node("DeformConv", ["x", "w", "offset", *inputs], ["deformed"], **attributes),
        helper.make_node("Conv", ["deformed", "wy"], ["y"]),
    ]
    image = helper.make_tensor_value_info("image", type_, ["batch", 3, "height", "width"])
    graph = helper.make_graph(nodes, "graph", [image], [helper.make_tensor_value_info("y", type_, None)], constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(built.SerializeToString())


SHAPES: list[list[tuple[int, ...]]] = [[(1, 3, 16, 24)], [(4, 3, 40, 40)], [(16, 3, 80, 80)]]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("opset", [19, 22])
@pytest.mark.parametrize("inputs", [(), ("b",), ("b", "mask")], ids=len)
def test_engines_build(builder: Any, dtype: str, opset: int, inputs: tuple[str, ...]) -> None:  # noqa: F811
    network = parse(builder, model(dtype, opset, inputs, {"kernel_shape": [3, 3], "pads": [1] * 4}))
    assert network is not None, LOG.errors
    (layer,) = [
        layer for layer in map(network.get_layer, range(network.num_layers)) if layer.type == trt.LayerType.PLUGIN_V3
    ]
    assert layer.num_inputs == 3 + len(inputs)
    assert tuple(layer.get_output(0).shape) == (-1, 24, -1, -1)
    assert build(builder, network, SHAPES) is not None, LOG.errors
    assert not LOG.errors


def test_the_parser_takes_no_mask_without_a_bias(builder: Any) -> None:  # noqa: F811
    """As plugins/README.md says."""
    standard = model("float32", 19, ("", "mask"), {"kernel_shape": [3, 3], "pads": [1] * 4})
    assert parse(builder, standard) is None


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"pads": [1] * 4, "strides": [0, 1]}, "attribute 'strides': expected 1 to 4096, got 0"),
        ({"pads": [1] * 4, "group": 3}, "groups is 3, expected a divisor of in_channels, 16"),
        ({"pads": [0] * 4}, "offset: expected the shape"),
    ],
)
def test_wrong_models_are_refused(builder: Any, attributes: dict[str, Any], message: str) -> None:  # noqa: F811
    network = parse(builder, model("float16", 19, ("b", "mask"), attributes))
    assert network is None or build(builder, network, SHAPES) is None
    assert any(line.startswith("DeformConv: ") and message in line for line in LOG.errors), LOG.errors
