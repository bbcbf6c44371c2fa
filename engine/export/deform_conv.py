"""Making standard DeformConv nodes importable by TensorRT's ONNX parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_WEIGHT, _BIAS = 1, 3


def give_every_mask_a_bias(graph: onnx.GraphProto) -> None:
    """Add a bias of zeros to each DeformConv node that has a mask but no bias.

    The standard leaves the bias's place empty then, and the parser cannot hand an empty input to a plugin.

    Args:
        graph: changed in place; the weights of such nodes are initializers.
    """
    from onnx import numpy_helper

    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DeformConv" and len(node.input) > _BIAS and not node.input[_BIAS]:
            weight = numpy_helper.to_array(initializers[node.input[_WEIGHT]])
            bias = numpy_helper.from_array(np.zeros(weight.shape[0], weight.dtype), f"{node.input[_WEIGHT]}_zero_bias")
            graph.initializer.append(bias)
            node.input[_BIAS] = bias.name
