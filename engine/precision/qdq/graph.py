"""An ONNX graph for quantisation: nodes in order, weights as arrays, convolutions with their cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.types import FloatArray

if TYPE_CHECKING:
    import onnx

# f(a x) = a f(x) for every a > 0.
HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool", "Resize"})
# Their outputs hold only values of their inputs. Inputs and outputs share one scale, so they run on the quantised type.
VALUE_KEEPING = frozenset({"Concat", "MaxPool", "Resize"})
ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip"})


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute of a node, or `default` if the node does not have it."""
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def with_weights(model: onnx.ModelProto, weights: Mapping[str, FloatArray]) -> onnx.ModelProto:
    """Return a copy of a model with some initialisers replaced, by name."""
    from onnx import numpy_helper

    copy = type(model)()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return copy


def readers(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each tensor, by name of the tensor."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


@dataclass(frozen=True)
class Convolution:
    """A convolution of the graph.

    Attributes:
        name: of its node.
        data: tensor that it reads.
        weight: name of its weights [O, I / groups, h, w].
        bias: name of its bias [O].
        output: tensor that it writes.
        groups: of channels.
        macs: for one image.
        offset: tensor of offsets of a deformable convolution, which cannot be quantised; None for a plain one.
    """

    name: str
    data: str
    weight: str
    bias: str
    output: str
    groups: int
    macs: int
    offset: str | None


class Graph:
    """A float32 network.

    Attributes:
        model: a copy of the ONNX model; its initialisers do not change.
        nodes: in topological order.
        weights: arrays of all initialisers by name; equalisation changes them.
        size: (height, width) of the input that MACs are counted for.
        inputs: names.
        outputs: names.
    """

    def __init__(self, model: onnx.ModelProto, size: tuple[int, int]) -> None:
        """Copy a checked model that accepts inputs of `size` (height, width)."""
        import onnx
        from onnx import numpy_helper

        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.size = size
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.weights: dict[str, FloatArray] = {t.name: numpy_helper.to_array(t).copy() for t in graph.initializer}
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that writes each tensor, by name of the tensor."""
        return {name: node for node in self.nodes for name in node.output}

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor, by name of the tensor."""
        return readers(self.nodes)

    @cached_property
    def convolutions(self) -> dict[str, Convolution]:
        """The convolutions, plain and deformable, by name and in order."""
        found = {}
        for node in self.nodes:
            if node.op_type not in ("Conv", "DeformConv"):
                continue
            deformable = node.op_type == "DeformConv"
            found[node.name] = Convolution(
                name=node.name,
                data=node.input[0],
                weight=node.input[1],
                bias=node.input[3 if deformable else 2],
                output=node.output[0],
                groups=int(attribute(node, "group", 1)),
                macs=int(self.weights[node.input[1]].size * np.prod(self.shapes[node.output[0]][2:])),
                offset=node.input[2] if deformable else None,
            )
        return found

    @property
    def num_weights(self) -> int:
        """The number of weights of all convolutions."""
        return sum(self.weights[c.weight].size for c in self.convolutions.values())

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each computed tensor, for one image of `size`."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for axis, length in enumerate((1, 3, *self.size)):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        return {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in (*inferred.value_info, *inferred.output)
        }
