"""Casts of a network to 16-bit floating point, with float32 inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.detection import OPSET
from engine.config.formats import BF16, FP16, NumberFormat
from engine.errors import BuildError

if TYPE_CHECKING:
    import onnx

_SUFFIX = "_16bit"
_BF16_OPSET = 22  # the first with bfloat16 convolutions; the other operators of these networks are the same


def to_fp16(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose weights and activations are float16; inputs and outputs stay float32.

    Raises:
        BuildError: a weight does not fit float16.
    """
    for tensor in _float_weights(network.graph):
        largest = np.abs(_values(tensor)).max(initial=0.0)
        if largest > FP16.largest:
            raise BuildError(f"weight {tensor.name} reaches {largest:.3g}, beyond float16: use bf16 or fp32")
    return _cast(network, FP16)


def to_bf16(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose weights and activations are bfloat16; inputs and outputs stay float32."""
    return _cast(network, BF16, _BF16_OPSET)


def constant(name: str, values: NDArray[np.float32], kind: NumberFormat) -> onnx.TensorProto:
    """Return a tensor of values in a format: rounded to the nearest, ties to even; whole already for an integer format.

    Its bytes are stored as they are: ONNX's other form, a list of numbers, takes longer to write than all else in a
    network.

    Args:
        name: of the tensor.
        values: of any shape, within the format's range.
        kind: of the tensor's elements.
    """
    import onnx
    import torch

    rounded = torch.from_numpy(np.array(values, np.float32)).to(getattr(torch, kind.torch_type))
    return onnx.TensorProto(
        name=name,
        data_type=onnx.TensorProto.DataType.Value(kind.onnx_type),
        dims=values.shape,
        raw_data=rounded.flatten().view(torch.uint8).numpy().tobytes(),
    )


def inner_name(network: onnx.ModelProto, name: str) -> str:
    """Return the name of a tensor in a cast network: the 16-bit copy of an input or output has a suffix."""
    ends = [value.name for value in (*network.graph.input, *network.graph.output)]
    return f"{name}{_SUFFIX}" if name in ends else name


def _cast(network: onnx.ModelProto, kind: NumberFormat, opset: int = OPSET) -> onnx.ModelProto:
    import onnx
    from onnx import TensorProto, helper

    dtype = TensorProto.DataType.Value(kind.onnx_type)
    typed = onnx.ModelProto()
    typed.CopyFrom(network)
    typed.opset_import[0].version = opset
    graph = typed.graph
    del graph.value_info[:]
    for tensor in _float_weights(graph):
        tensor.CopyFrom(constant(tensor.name, _values(tensor), kind))
    inputs, outputs = [v.name for v in graph.input], [v.name for v in graph.output]
    inner = {name: f"{name}{_SUFFIX}" for name in inputs + outputs}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inner.get(name, name) for name in names]
    nodes = [
        *(helper.make_node("Cast", [n], [inner[n]], to=dtype, name=f"{n}_to_16bit") for n in inputs),
        *graph.node,
        *(helper.make_node("Cast", [inner[n]], [n], to=TensorProto.FLOAT, name=f"{n}_to_fp32") for n in outputs),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(typed, full_check=True)
    return typed


def _float_weights(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    from onnx import TensorProto

    return [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and not _is_resize_scale(graph, t.name)]


def _values(tensor: onnx.TensorProto) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _is_resize_scale(graph: onnx.GraphProto, name: str) -> bool:
    """Return whether a tensor is the scales of Resize, which are float32 for data of any type."""
    return any(node.op_type == "Resize" and name in list(node.input)[1:] for node in graph.node)


def bf16_on_float32(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 network that rounds to bfloat16 wherever that of to_bf16 does.

    ONNX Runtime runs it, as it has no bfloat16 convolution on the CPU. Products of bfloat16 numbers are exact in
    float32, and GPUs accumulate in float32, too.
    """
    import onnx
    from onnx import numpy_helper

    rounded = onnx.ModelProto()
    rounded.CopyFrom(network)
    graph = rounded.graph
    del graph.value_info[:]
    for tensor in _float_weights(graph):
        half = constant(tensor.name, _values(tensor), BF16)
        tensor.CopyFrom(numpy_helper.from_array(_values(half).astype(np.float32), tensor.name))
    nodes = _round_trip(graph.input[0].name, f"{graph.input[0].name}{_SUFFIX}")
    for node in graph.node:
        node.input[:] = [f"{name}{_SUFFIX}" if name == graph.input[0].name else name for name in node.input]
        output = node.output[0]
        node.output[0] = f"{output}_exact"
        nodes += [node, *_round_trip(node.output[0], output)]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(rounded, full_check=True)
    return rounded


def _round_trip(source: str, target: str) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    half = f"{target}_bf16"
    return [
        helper.make_node("Cast", [source], [half], to=TensorProto.BFLOAT16, name=f"{target}_to_bf16"),
        helper.make_node("Cast", [half], [target], to=TensorProto.FLOAT, name=f"{target}_from_bf16"),
    ]
