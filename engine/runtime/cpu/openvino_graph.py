"""Networks as OpenVINO has read them, changed before they are compiled."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def fold_scales(model: Any) -> None:
    """Let what quantises a tensor give real values, in steps of the scale, instead of whole numbers to be scaled.

    From QuantizeLinear and DequantizeLinear OpenVINO's reader makes a FakeQuantize that gives -128 to 127, and a
    multiplication by the scale. The values are the same, but what gives the tensors of a concatenation a common range
    reads the FakeQuantize alone, takes -128 to 127 for real values, and rounds these to whole numbers.
    """
    for result, rounding in _quantisations(model):
        if rounding.get_type_name() != "FakeQuantize":
            continue
        shifted = _source(result, 0)
        scale, zero = (_constant(_source(node, 1)) for node in (result, shifted))
        bounds = [_constant(_source(rounding, i)) for i in range(1, 5)]
        bounds[2:] = [(bound - zero) * scale for bound in bounds[2:]]
        levels = rounding.get_attributes()["levels"]
        operators = importlib.import_module("openvino.opset8")
        limits = [operators.constant(bound.astype(np.float32)) for bound in bounds]
        real = operators.fake_quantize(rounding.input_value(0), *limits, levels)
        _replace(result, real.output(0))
    model.validate_nodes_and_infer_types()


def remove_quantisation(model: Any) -> None:
    """Leave tensors as they are where the network quantises them; weights stay quantised."""
    for result, rounding in _quantisations(model):
        source = rounding.input_value(0)
        # FP8's reads what was divided by the scale.
        _replace(result, source if rounding.get_type_name() == "FakeQuantize" else source.get_node().input_value(0))
    model.validate_nodes_and_infer_types()


def remove_bf16_rounding(model: Any) -> None:
    """Take out what rounds float32 to bfloat16 and back: the processor's own instructions do."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or _element_type(node) != "f32":
            continue
        source = _source(node, 0)
        if source.get_type_name() == "Convert" and _element_type(source) == "bf16":
            node.output(0).replace(source.input_value(0))


def deform_conv(node: Any) -> list[Any]:
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


def _quantisations(model: Any) -> Iterator[tuple[Any, Any]]:
    """Where tensors are quantised: the multiplication that gives the values, and the node that rounds them.

    The reader writes Multiply(Subtract(Convert(Convert(rounded, 8 bits)), zero), scale).
    """
    for result in model.get_ordered_ops():
        node, found = result, True
        for kind in ("Multiply", "Subtract", "Convert", "Convert"):
            found = found and node.get_type_name() == kind
            node = _source(node, 0) if found else node
        if found and node.get_type_name() in ("FakeQuantize", "FakeConvert"):
            yield result, node


def _replace(node: Any, value: Any) -> None:
    """Give the readers of a node another value, in the type that they read."""
    if value.get_element_type() != node.get_output_element_type(0):
        operators = importlib.import_module("openvino.opset8")
        value = operators.convert(value, _element_type(node)).output(0)
    node.output(0).replace(value)


def _source(node: Any, index: int) -> Any:
    return node.input_value(index).get_node()


def _constant(node: Any) -> Any:
    """The numbers of a constant, also of one that is converted."""
    while node.get_type_name() == "Convert":
        node = _source(node, 0)
    return np.asarray(node.get_data(), np.float32)


def _element_type(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _optional_input(node: Any, index: int) -> Any:
    """Return an input, or None where the list is shorter or has an empty name."""
    given = node.get_input(index) if index < node.get_input_size() else None
    return None if given is None or given.get_node().get_type_name() == "NullNode" else given
