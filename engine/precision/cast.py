"""Running a network in 16-bit floating point between float32 inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import BuildError

if TYPE_CHECKING:
    import onnx

_FP16_MAX = 65504.0


def to_fp16(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose weights and activations are float16; inputs and outputs stay float32.

    Raises:
        BuildError: a weight does not fit float16.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    typed = onnx.ModelProto()
    typed.CopyFrom(network)
    graph = typed.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and not _is_resize_scale(graph, tensor.name):
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0.0) > _FP16_MAX:
                raise BuildError(f"weight {tensor.name} reaches {np.abs(values).max():.3g}, beyond float16: use fp32")
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    inputs, outputs = {v.name for v in graph.input}, {v.name for v in graph.output}
    half = {name: f"{name}_fp16" for name in inputs | outputs}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [half.get(name, name) for name in names]
    casts_in = [helper.make_node("Cast", [n], [half[n]], to=TensorProto.FLOAT16, name=f"{n}_to_fp16") for n in inputs]
    casts_out = [
        helper.make_node("Cast", [half[v.name]], [v.name], to=TensorProto.FLOAT, name=f"{v.name}_to_fp32")
        for v in graph.output
    ]
    nodes = [*casts_in, *graph.node, *casts_out]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(typed, full_check=True)
    return typed


def _is_resize_scale(graph: onnx.GraphProto, name: str) -> bool:
    """Resize takes its scales in float32 whatever the type of its data."""
    return any(node.op_type == "Resize" and name in list(node.input)[1:] for node in graph.node)
