"""Exact rewriting of a float32 network into a form that quantises well."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from engine.precision.qdq.graph import ACTIVATIONS, readers

if TYPE_CHECKING:
    import onnx


def prepare(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every convolution has a bias and activations come before concatenations.

    An activation behind Concat prevents TensorRT from concatenating 8-bit tensors. In the branches it fuses into their
    convolutions. The outputs stay the same to the last bit.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(network)
    del model.graph.value_info[:]
    _add_missing_biases(model.graph)
    _activate_before_concat(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def with_plain_names(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose nodes, and the tensors that they compute, are named by their operators and places.

    The exporter's names depend on the input size and on PyTorch's version. What is stored for a network by these names
    fits every export of it. Inputs, outputs and initialisers keep their names.
    """
    model = type(network)()
    model.CopyFrom(network)
    del model.graph.value_info[:]
    new = {value.name: value.name for value in model.graph.output}
    counts: Counter[str] = Counter()
    for node in model.graph.node:
        node.name = f"{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        node.input[:] = [new.get(name, name) for name in node.input]
        for i, name in enumerate(node.output):
            new.setdefault(name, f"{node.name}_output{i or ''}")
        node.output[:] = [new[name] for name in node.output]
    return model


def _add_missing_biases(graph: onnx.GraphProto) -> None:
    from onnx import numpy_helper

    out_channels = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    for node in graph.node:
        expected = {"Conv": 3, "DeformConv": 4}.get(node.op_type, 0)
        if len(node.input) == expected - 1:
            name = f"{node.name}_bias"
            zeros = np.zeros(out_channels[node.input[1]], np.float32)
            graph.initializer.append(numpy_helper.from_array(zeros, name))
            node.input.append(name)


def _activate_before_concat(graph: onnx.GraphProto) -> None:
    from onnx import helper

    reading = readers(graph.node)
    nodes: list[onnx.NodeProto] = []
    moved: set[str] = set()
    for node in graph.node:
        following = reading.get(node.output[0], []) if node.op_type == "Concat" else []
        if len(following) == 1 and following[0].op_type in ACTIVATIONS:
            activation = following[0]
            branches = []
            for i, name in enumerate(node.input):
                branch = helper.make_node(
                    activation.op_type,
                    [name, *activation.input[1:]],
                    [f"{name}_activated"],
                    name=f"{activation.name}_{i}",
                )
                branch.attribute.extend(activation.attribute)
                nodes.append(branch)
                branches.append(branch.output[0])
            concat = helper.make_node("Concat", branches, list(activation.output), name=node.name)
            concat.attribute.extend(node.attribute)
            nodes.append(concat)
            moved.add(activation.name)
        elif node.name not in moved:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
