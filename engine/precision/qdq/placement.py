"""Where Q/DQ pairs go: which tensors are quantised, and which of them share a scale.

A quantised convolution reads quantised tensors. Its output is not quantised: an activation or a residual sum behind it
runs in its epilogue, and the output of that is quantised for the next reader. The other operand of a residual sum is
quantised, too, so that TensorRT fuses the sum into the convolution and moves one byte per value. Concat, max pooling
and nearest resizing only move values: their inputs and outputs share one scale and stay in 8 bits. This follows
"Working with Quantized Types" in TensorRT's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.config.formats import NumberFormat
from engine.precision.qdq.graph import ACTIVATIONS, VALUE_KEEPING, Convolution, Graph

if TYPE_CHECKING:
    import onnx

Assignment = Mapping[str, NumberFormat]
"""The number format of each quantised convolution, by name. The others stay in floating point."""

Point = tuple[str, NumberFormat]
"""A quantised tensor: its name and number format. A tensor may be quantised to two formats, for different readers."""


def quantisable(graph: Graph, kind: NumberFormat) -> list[str]:
    """Return the names of the convolutions that TensorRT has kernels for in a number format; never deformable ones."""
    return [c.name for c in graph.convolutions.values() if c.offset is None and _has_kernel(graph, c, kind)]


def points(graph: Graph, assignment: Assignment) -> list[Point]:
    """Return the quantised tensors of an assignment, in the order of the graph.

    If the output of a VALUE_KEEPING node is quantised, so are its inputs.
    """
    found: dict[Point, None] = {}

    def need(name: str, kind: NumberFormat) -> None:
        producer = graph.producers.get(name)
        if (name, kind) in found:
            return
        if producer is not None and producer.op_type in VALUE_KEEPING:
            for source in value_inputs(graph, name):
                need(source, kind)
        found[name, kind] = None

    for convolution in graph.convolutions.values():
        kind = assignment.get(convolution.name)
        if kind is not None:
            need(convolution.data, kind)
            other = residual(graph, convolution)
            if other is not None:
                need(other, kind)
    return list(found)


def value_inputs(graph: Graph, name: str) -> list[str]:
    """Return the data inputs of the VALUE_KEEPING node that writes `name`."""
    producer = graph.producers[name]
    return list(producer.input) if producer.op_type == "Concat" else [producer.input[0]]


def residual(graph: Graph, convolution: Convolution) -> str | None:
    """Return the other operand of the sum that fuses into a convolution, or None without such a sum."""
    add = fused_sum(graph, convolution)
    if add is None:
        return None
    first, second = add.input
    return str(second if first == _result(graph, convolution.output) else first)


def fused_sum(graph: Graph, convolution: Convolution) -> onnx.NodeProto | None:
    """Return the sum that fuses into a convolution, or None.

    If two convolutions are added, the sum fuses into the first one only.
    """
    result = _result(graph, convolution.output)
    readers = graph.consumers.get(result, [])
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    first = readers[0].input[0]
    return readers[0] if first == result or not _comes_from_convolution(graph, first) else None


def scale_groups(graph: Graph) -> dict[str, str]:
    """Return, for each tensor that shares its scale with others, the leader of its group."""
    groups: dict[str, str] = {}
    for node in reversed(graph.nodes):
        if node.op_type in VALUE_KEEPING:
            leader = groups.get(node.output[0], node.output[0])
            for name in value_inputs(graph, node.output[0]):
                _merge(groups, name, leader)
    return groups


def _merge(groups: dict[str, str], name: str, leader: str) -> None:
    """Merge the groups of `name` and `leader`."""
    old = groups.get(name, name)
    for member in [m for m, owner in groups.items() if owner == old]:
        groups[member] = leader
    groups[old] = groups[name] = groups[leader] = leader


def _result(graph: Graph, name: str) -> str:
    """Return the output of the activation that alone reads a tensor; without one, the tensor itself."""
    readers = graph.consumers.get(name, [])
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS:
        return str(readers[0].output[0])
    return name


def _comes_from_convolution(graph: Graph, name: str) -> bool:
    producer = graph.producers.get(name)
    if producer is not None and producer.op_type in ACTIVATIONS:
        producer = graph.producers.get(producer.input[0])
    return producer is not None and producer.op_type == "Conv" and len(graph.consumers[name]) == 1


def _has_kernel(graph: Graph, convolution: Convolution, kind: NumberFormat) -> bool:
    multiple = kind.channel_multiple
    channels = graph.weights[convolution.weight].shape[:2]
    return multiple is None or (convolution.groups == 1 and not any(count % multiple for count in channels))
