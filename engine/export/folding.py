"""Folding of batch normalisations into convolutions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import BuildError

if TYPE_CHECKING:
    import onnx

_WEIGHT = 1
_CONVOLUTIONS = ("Conv", "DeformConv")


def fold_batch_normalisations(graph: onnx.GraphProto) -> None:
    """Fold the batch normalisations that the exporter did not fold into the convolutions before them.

    The exporter does not fold them behind a DeformConv, or behind a Conv that shares its weights with another.

    Args:
        graph: changed in place. Weights are initializers, and a convolution before a normalisation has no bias.

    Raises:
        BuildError: the output of a convolution has another reader beside the batch normalisation.
    """
    from onnx import numpy_helper

    values = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input) + Counter(o.name for o in graph.output)
    producers = {node.output[0]: node for node in graph.node if node.op_type in _CONVOLUTIONS}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization" and node.input[0] in producers]:
        conv = producers[norm.input[0]]
        if readers[conv.output[0]] != 1:
            raise BuildError(f"the convolution {conv.name!r} has readers beside its batch normalisation {norm.name!r}")
        weight, gamma, beta, mean, variance = (
            numpy_helper.to_array(values[name]) for name in (conv.input[_WEIGHT], *norm.input[1:])
        )
        epsilon = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
        with np.errstate(over="ignore", invalid="ignore"):  # the export checks that the result is finite
            scale = gamma / np.sqrt(variance + np.float32(epsilon))
            # New names, as another node may share the old initializers.
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
