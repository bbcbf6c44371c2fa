"""Where Q/DQ pairs go: which tensors are quantised, and which of them share a scale.

Every quantised convolution reads a quantised tensor, and writes none: what follows it (an activation, a residual sum)
runs in its epilogue, and the next reader asks for the quantisation. Where a convolution's result is added to another
branch, that branch is quantised too, so that TensorRT fuses the sum into the convolution and moves a byte a value.
Concat, max pooling and nearest resizing only move values: their two sides share one scale and stay in 8 bits. These are
the recommendations of "Working with Quantized Types" in TensorRT's documentation, for this family of networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.precision.qdq.graph import ACTIVATIONS, VALUE_KEEPING, Convolution, Graph

if TYPE_CHECKING:
    import onnx

INT8, FP8 = "int8", "fp8"
_FP8_CHANNELS = 16

Assignment = Mapping[str, str]
"""Name of each quantised convolution to INT8 or FP8; the others stay in floating point."""

Point = tuple[str, str]
"""A quantised tensor: its name and INT8 or FP8. A tensor may be quantised to both, for different readers."""


def quantisable(graph: Graph, kind: str) -> list[str]:
    """Names of the convolutions that have a form of this kind.

    TensorRT has 8-bit integer kernels for all but deformable ones; its FP8 kernels want ungrouped convolutions whose
    channels come in sixteens.
    """
    return [c.name for c in graph.convolutions.values() if c.offset is None and (kind == INT8 or _has_fp8(graph, c))]


def points(graph: Graph, assignment: Assignment) -> list[Point]:
    """The quantised tensors of an assignment, in the order of the graph; never the output of a VALUE_KEEPING node's
    input alone: both sides are listed.
    """
    found: dict[Point, None] = {}

    def need(name: str, kind: str) -> None:
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
    """The data inputs of the VALUE_KEEPING node that makes `name`."""
    producer = graph.producers[name]
    return list(producer.input) if producer.op_type == "Concat" else [producer.input[0]]


def residual(graph: Graph, convolution: Convolution) -> str | None:
    """The other operand of the sum that fuses into a convolution, or None."""
    add = fused_sum(graph, convolution)
    if add is None:
        return None
    first, second = add.input
    return str(second if first == _result(graph, convolution.output) else first)


def fused_sum(graph: Graph, convolution: Convolution) -> onnx.NodeProto | None:
    """The sum that fuses into a convolution, or None.

    Of two convolutions that are added only the first takes the sum into its epilogue.
    """
    result = _result(graph, convolution.output)
    readers = graph.consumers.get(result, [])
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    first = readers[0].input[0]
    return readers[0] if first == result or not _comes_from_convolution(graph, first) else None


def scale_groups(graph: Graph) -> dict[str, str]:
    """Name, for every tensor that must share its scale, of its group's first tensor."""
    groups: dict[str, str] = {}
    for node in reversed(graph.nodes):
        if node.op_type in VALUE_KEEPING:
            leader = groups.get(node.output[0], node.output[0])
            for name in value_inputs(graph, node.output[0]):
                _merge(groups, name, leader)
    return groups


def _merge(groups: dict[str, str], name: str, leader: str) -> None:
    """Put `name`, and whatever it leads or belongs to, into the group of `leader`."""
    old = groups.get(name, name)
    for member in [m for m, owner in groups.items() if owner == old]:
        groups[member] = leader
    groups[old] = groups[name] = groups[leader] = leader


def _result(graph: Graph, name: str) -> str:
    """What a convolution's output becomes in its epilogue: itself, or the activation that alone reads it."""
    readers = graph.consumers.get(name, [])
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS:
        return str(readers[0].output[0])
    return name


def _comes_from_convolution(graph: Graph, name: str) -> bool:
    producer = graph.producers.get(name)
    if producer is not None and producer.op_type in ACTIVATIONS:
        producer = graph.producers.get(producer.input[0])
    return producer is not None and producer.op_type == "Conv" and len(graph.consumers[name]) == 1


def _has_fp8(graph: Graph, convolution: Convolution) -> bool:
    out_channels, in_channels = graph.weights[convolution.weight].shape[:2]
    return convolution.groups == 1 and in_channels % _FP8_CHANNELS == 0 and out_channels % _FP8_CHANNELS == 0
