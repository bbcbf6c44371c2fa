"""What exporters and TensorRT's ONNX parser leave to be done about standard DeformConv nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_WEIGHT, _BIAS = 1, 3
_CONVOLUTIONS = ("Conv", "DeformConv")


def fold_batch_normalisations(graph: onnx.GraphProto) -> None:
    """Fold into weights and biases the batch normalisations that the exporter leaves.

    It leaves those behind a DeformConv, and those behind a Conv whose weights others share.

    Args:
        graph: changed in place; weights are initializers, and no convolution before a normalisation has a bias yet.
    """
    from onnx import numpy_helper

    values = {tensor.name: tensor for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node if node.op_type in _CONVOLUTIONS}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization" and node.input[0] in producers]:
        conv = producers[norm.input[0]]
        weight, gamma, beta, mean, variance = (
            numpy_helper.to_array(values[name]) for name in (conv.input[_WEIGHT], *norm.input[1:])
        )
        epsilon = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
        scale = gamma / np.sqrt(variance + np.float32(epsilon))
        # Under new names: nodes with equal initializers may share one.
        folded = {"weight": weight * scale[:, None, None, None], "bias": beta - mean * scale}
        names = [f"{norm.output[0]}_{kind}" for kind in folded]
        graph.initializer.extend(map(numpy_helper.from_array, folded.values(), names))
        conv.input[_WEIGHT] = names[0]
        conv.input.append(names[1])
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


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
