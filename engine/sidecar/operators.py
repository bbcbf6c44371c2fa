"""The operators of a network: the only ones that builds write, with their attributes, types and shapes.

Libraries that run every ONNX file can be made to crash, or to run without end or out of memory, by many others. An
operator that the export begins to write needs an entry here: else its engines are refused where they are built.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from engine.errors import InvalidArgumentError
from engine.untrusted.onnx_network import Attribute, Node

FLOAT, INT8, FLOAT16, BFLOAT16, FLOAT8 = 1, 3, 10, 16, 17  # of onnx.TensorProto
_NAMES = {FLOAT: "float32", INT8: "int8", FLOAT16: "float16", BFLOAT16: "bfloat16", FLOAT8: "float8"}
ELEMENT_BYTES = {FLOAT: 4, INT8: 1, FLOAT16: 2, FLOAT8: 1}  # of constants
_REAL, _QUANTISED = (FLOAT, FLOAT16), (INT8, FLOAT8)
_TWICE = struct.pack("<4f", 1, 1, 2, 2)
_KERNELS = ((1, 1), (3, 3), (7, 7))


@dataclass(frozen=True)
class Tensor:
    """A tensor that is computed from an image: its element type, and its shape without the batch."""

    type: int
    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """Their number."""
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        """Say it in words."""
        return f"{_NAMES.get(self.type, 'unknown')} [N, {self.channels}, {self.height}, {self.width}]"


@dataclass(frozen=True)
class Weights:
    """A tensor that is the same for every image.

    Attributes:
        type: of its elements.
        shape: of it.
        raw: its bytes, where the file holds them as such.
        packed: where the file holds them as variable-length integers, these.
    """

    type: int
    shape: tuple[int, ...]
    raw: bytes | memoryview = b""
    packed: bytes | memoryview = b""


Value = Tensor | Weights
Inputs = Sequence[Value | None]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Operator:
    """An operator as builds write it.

    Attributes:
        output: from its attributes and inputs to its output. An optional input that is left out is None.
        inputs: the least and the largest number of them.
        attributes: by name, the values that each may have, or its type if `output` checks the value.
    """

    output: Callable[[Attributes, Inputs], Value]
    inputs: tuple[int, int] = (1, 1)
    attributes: Mapping[str, Sequence[Attribute] | type] = field(default_factory=dict)


def output_of(node: Node, inputs: Inputs) -> Value:
    """Return the output of a node whose operator is one of OPERATORS.

    Raises:
        InvalidArgumentError: no build writes such a node; the message says what is wrong with it.
    """
    operator = OPERATORS[node.operator]
    least, most = operator.inputs
    if not least <= len(inputs) <= most:
        _refuse(f"it has {len(inputs)} inputs, expected {least} to {most}")
    for name, value in node.attributes.items():
        allowed = operator.attributes.get(name)
        if allowed is None:
            _refuse(f"it has an attribute {name!r:.80}, which no build writes")
        if type(value) is not (allowed if isinstance(allowed, type) else type(allowed[0])):
            _refuse(f"{name} is {shown(value)}, which is of another type than builds write")
        if not isinstance(allowed, type) and value not in allowed:
            _refuse(f"{name} is {shown(value)}, expected {' or '.join(map(str, allowed))}")
    return operator.output(node.attributes, inputs)


def shown(value: Attribute | None) -> str:
    """Return an attribute as text for a message: some characters of a text or numbers of a list of millions."""
    return repr(value[:8] if isinstance(value, str | tuple) else value)


def multiplications(node: Node, values: Mapping[str, Value]) -> int:
    """Count the multiplications of a node's weights with the values of one image, in a network of these tensors."""
    if node.operator not in ("Conv", "DeformConv"):
        return 0
    weight, output = _weights(values[node.inputs[1]], rank=4), values[node.outputs[0]]
    assert isinstance(output, Tensor)
    return math.prod(weight.shape) * output.height * output.width


def _conv(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, weight = _tensor(inputs[0], _REAL), _weights(inputs[1], rank=4)
    outputs, inner, *sides = weight.shape
    kernel = (sides[0], sides[1])
    groups = attributes.get("group", 1)
    if groups not in (1, x.channels):
        _refuse(f"group is {groups}, expected 1 or {x.channels}, the number of channels")
    if weight.type != x.type or inner * groups != x.channels or outputs % groups:
        _refuse(f"its weights have the shape {weight.shape}, which does not fit {x.channels} channels of its type")
    if kernel not in _KERNELS or attributes.get("kernel_shape", kernel) != kernel:
        _refuse(f"its weights have the shape {weight.shape}, expected a kernel of 1 x 1, 3 x 3 or 7 x 7")
    for bias in (_weights(value, rank=1) for value in inputs[2:]):
        if (bias.type, bias.shape) != (x.type, (outputs,)):
            _refuse(f"its bias does not have {outputs} values of the type of its input")
    return _slide(replace(x, channels=outputs), kernel, attributes)


def _deform_conv(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, weight, offset, bias = inputs
    output = _conv(attributes, (x, weight, bias))
    if offset != replace(output, channels=2 * math.prod(_weights(weight, rank=4).shape[2:])):
        _refuse("its offsets are not two for each weight of the kernel and each place")
    return output


def _max_pool(attributes: Attributes, inputs: Inputs) -> Tensor:
    return _slide(_tensor(inputs[0], _REAL), attributes.get("kernel_shape", (1, 1)), attributes)


def _slide(x: Tensor, kernel: tuple[int, int], attributes: Attributes) -> Tensor:
    """Return what a kernel gives that slides over a tensor."""
    pad, stride = attributes.get("pads", (0,))[0], attributes.get("strides", (1,))[0]
    height, width = (
        (side + 2 * pad - size) // stride + 1 for side, size in zip((x.height, x.width), kernel, strict=True)
    )
    if height < 1 or width < 1:
        _refuse(f"its input, {x.height} x {x.width}, is smaller than its kernel")
    return replace(x, height=height, width=width)


def _activation(attributes: Attributes, inputs: Inputs) -> Tensor:
    return _tensor(inputs[0], _REAL)


def _clip(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, *bounds = inputs
    output = _tensor(x, _REAL)
    if any(_weights(bound, rank=0).type != output.type for bound in bounds):
        _refuse("its bounds are not of the type of its input")
    return output


def _add(attributes: Attributes, inputs: Inputs) -> Tensor:
    first, second = (_tensor(value, _REAL) for value in inputs)
    if first != second:
        _refuse(f"its inputs differ: {first} and {second}")
    return first


def _concat(attributes: Attributes, inputs: Inputs) -> Tensor:
    first, *others = (_tensor(value, _REAL) for value in inputs)
    if any(replace(other, channels=first.channels) != first for other in others) or "axis" not in attributes:
        _refuse("its inputs differ in more than their channels")
    return replace(first, channels=first.channels + sum(other.channels for other in others))


def _resize(attributes: Attributes, inputs: Inputs) -> Tensor:
    x = _tensor(inputs[0], _REAL)
    if inputs[1] is not None or inputs[2] != Weights(FLOAT, (4,), _TWICE):
        _refuse("it does not double the height and the width")
    return replace(x, height=2 * x.height, width=2 * x.width)


def _cast(attributes: Attributes, inputs: Inputs) -> Tensor:
    return replace(_tensor(inputs[0], (*_REAL, BFLOAT16)), type=attributes.get("to", FLOAT))


def _quantise(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, scale, zero = _tensor(inputs[0], _REAL), _weights(inputs[1], rank=0), _weights(inputs[2], rank=0)
    if scale.type != x.type or zero.type not in _QUANTISED:
        _refuse("its scale or its zero point is of a type that no build writes")
    _check_zero(zero)
    return replace(x, type=zero.type)


def _dequantise(attributes: Attributes, inputs: Inputs) -> Value:
    x = inputs[0]
    if isinstance(x, Weights):
        x, channels = _weights(x, rank=4), x.shape[:1]
        if "axis" not in attributes:  # whose default is 1
            _refuse("it does not say that its scales are those of the output channels (axis 0)")
    else:
        x, channels = _tensor(x, _QUANTISED), ()
    scale, zero = (_weights(value, rank=len(channels)) for value in inputs[1:])
    if scale.shape != channels or zero.shape != channels:
        _refuse(f"its scales have the shape {scale.shape} and its zero points {zero.shape}, expected {channels}")
    _check_zero(zero)
    if x.type not in _QUANTISED or zero.type != x.type or scale.type not in _REAL:
        _refuse("its scale or its zero point is of a type that no build writes")
    return Weights(scale.type, x.shape) if isinstance(x, Weights) else replace(x, type=scale.type)


def _check_zero(zero: Weights) -> None:
    if any(zero.raw) or any(zero.packed):
        _refuse("a zero point is not 0, but builds quantise symmetrically")


def _tensor(value: Value | None, types: Sequence[int]) -> Tensor:
    if not isinstance(value, Tensor) or value.type not in types:
        _refuse("an input is left out, is the same for every image, or is of a type that no build writes")
    return value


def _weights(value: Value | None, rank: int) -> Weights:
    if not isinstance(value, Weights) or len(value.shape) != rank:
        _refuse(f"an input is left out, is not the same for every image, or has not {rank} axes")
    return value


def _refuse(problem: str) -> NoReturn:
    raise InvalidArgumentError(problem)


_CONVOLUTION: dict[str, Sequence[Attribute] | type] = {
    "auto_pad": ("NOTSET",),
    "dilations": ((1, 1),),
    "kernel_shape": _KERNELS,
    "pads": ((0, 0, 0, 0), (1, 1, 1, 1), (3, 3, 3, 3)),
    "strides": ((1, 1), (2, 2)),
}
OPERATORS = {
    "Conv": Operator(_conv, (2, 3), {**_CONVOLUTION, "group": int}),
    "DeformConv": Operator(_deform_conv, (4, 4), {**_CONVOLUTION, "group": (1,), "offset_group": (1,)}),
    "Relu": Operator(_activation),
    "LeakyRelu": Operator(_activation, attributes={"alpha": float}),
    "Clip": Operator(_clip, (3, 3)),
    "MaxPool": Operator(
        _max_pool,
        attributes={**_CONVOLUTION, "kernel_shape": ((3, 3),), "ceil_mode": (0,), "storage_order": (0,)},
    ),
    "Add": Operator(_add, (2, 2)),
    "Concat": Operator(_concat, (2, 8), {"axis": (1,)}),
    "Resize": Operator(
        _resize,
        (3, 3),
        {
            "mode": ("nearest",),
            "nearest_mode": ("floor",),
            "coordinate_transformation_mode": ("asymmetric",),
            "keep_aspect_ratio_policy": ("stretch",),
            "antialias": (0,),
            "exclude_outside": (0,),
            "cubic_coeff_a": (-0.75,),
            "extrapolation_value": (0.0,),
        },
    ),
    "Cast": Operator(_cast, attributes={"to": (FLOAT, FLOAT16, BFLOAT16)}),
    "QuantizeLinear": Operator(_quantise, (3, 3)),
    "DequantizeLinear": Operator(_dequantise, (3, 3), {"axis": (0,)}),
}
