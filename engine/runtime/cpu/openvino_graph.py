"""Graph transformations on OpenVINO models, before compilation."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def fold_scales(model: Any) -> None:
    """Fold the scale of each quantised activation into its FakeQuantize, which then gives real values.

    From QuantizeLinear and DequantizeLinear OpenVINO's frontend makes a FakeQuantize with outputs -128 to 127 and a
    multiplication by the scale. The pass that aligns the ranges of concatenated tensors reads the FakeQuantize alone,
    takes -128 to 127 for the real range, and so rounds the values to whole numbers. On some processors: with the AMX
    kernels of OpenVINO 2026.4.1 it does not.
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
    """Remove the quantisation of activations; weights stay quantised."""
    for result, rounding in _quantisations(model):
        source = rounding.input_value(0)
        # In FP8 the input of FakeConvert was divided by the scale.
        _replace(result, source if rounding.get_type_name() == "FakeQuantize" else source.get_node().input_value(0))
    model.validate_nodes_and_infer_types()


def remove_bf16_rounding(model: Any) -> None:
    """Remove conversions from float32 to bfloat16 and back: the processor's bfloat16 instructions round anyway."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or _element_type(node) != "f32":
            continue
        source = _source(node, 0)
        if source.get_type_name() == "Convert" and _element_type(source) == "bf16":
            node.output(0).replace(source.input_value(0))


def deform_conv(node: Any) -> list[Any]:
    """Translate ONNX's DeformConv, with zero padding, also for taps that lie partly outside the map."""
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
    """Yield each quantised activation: the multiplication that gives its values, and the node that rounds.

    The frontend writes Multiply(Subtract(Convert(Convert(rounded, 8 bits)), zero), scale).
    """
    for result in model.get_ordered_ops():
        node, found = result, True
        for kind in ("Multiply", "Subtract", "Convert", "Convert"):
            found = found and node.get_type_name() == kind
            node = _source(node, 0) if found else node
        if found and node.get_type_name() in ("FakeQuantize", "FakeConvert"):
            yield result, node


def _replace(node: Any, value: Any) -> None:
    """Replace the output of a node by another value, converted to the same type."""
    if value.get_element_type() != node.get_output_element_type(0):
        operators = importlib.import_module("openvino.opset8")
        value = operators.convert(value, _element_type(node)).output(0)
    node.output(0).replace(value)


def _source(node: Any, index: int) -> Any:
    return node.input_value(index).get_node()


def _constant(node: Any) -> Any:
    """Return the values of a constant, or of a converted one."""
    while node.get_type_name() == "Convert":
        node = _source(node, 0)
    return np.asarray(node.get_data(), np.float32)


def _element_type(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _optional_input(node: Any, index: int) -> Any:
    """Return an input; None if it is missing or has an empty name."""
    given = node.get_input(index) if index < node.get_input_size() else None
    return None if given is None or given.get_node().get_type_name() == "NullNode" else given
