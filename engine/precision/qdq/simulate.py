"""Simulation of a quantised network in PyTorch, by fake quantisation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from engine.config.formats import QUANTISED_FORMATS, NumberFormat
from engine.errors import BuildError
from engine.model.deform_conv import deform_conv
from engine.precision.qdq.graph import VALUE_KEEPING, Graph, attribute
from engine.precision.qdq.placement import Assignment, Point, fused_sum, points, scale_groups

if TYPE_CHECKING:
    import onnx

# Scales are stored in float16. Subnormal numbers would have fewer bits.
_LEAST_SCALE = torch.finfo(torch.float16).smallest_normal


def to_half(scale: Tensor) -> Tensor:
    """Round scales to float16, in which the graph stores them."""
    return scale.clamp_min(_LEAST_SCALE).half().float()


def fake_quantise(x: Tensor, scale: Tensor, kind: NumberFormat) -> Tensor:
    """Quantise and dequantise."""
    return to_grid(x / scale, kind) * scale


def to_grid(y: Tensor, kind: NumberFormat) -> Tensor:
    """Round to the nearest value of a number format, saturating; float32."""
    y = y.clamp(kind.lowest, kind.largest)
    return y.round() if kind.is_integer else y.to(getattr(torch, kind.torch_type)).float()


class Simulation:
    """A network whose convolutions compute in assigned number formats.

    Attributes:
        assignment: number formats of the quantised convolutions.
        fitted: the assignment that `weights` were fitted for.
        weights: of each convolution, float32, rounded or not. They are used where `assignment` agrees with `fitted`.
        exact: original weights of each convolution, float32. They are used everywhere else.
        biases: of each convolution, float32.
        steps: float32 [O, 1, 1, 1], the scale of each output channel's weights, by convolution and number format.
        scales: of the activations, by leader of the scale group and number format.
    """

    def __init__(self, graph: Graph) -> None:
        """Copy the weights of a graph; nothing is quantised yet."""
        self._graph = graph
        self._groups = scale_groups(graph)
        sums = {name: fused_sum(graph, convolution) for name, convolution in graph.convolutions.items()}
        self._sums = {add.name: name for name, add in sums.items() if add is not None}
        self.assignment: Assignment = {}
        self.fitted: Assignment = {}
        self.weights = {c.name: torch.tensor(graph.weights[c.weight]) for c in graph.convolutions.values()}
        self.exact = dict(self.weights)
        self.biases = {c.name: torch.tensor(graph.weights[c.bias]) for c in graph.convolutions.values()}
        self.steps: dict[tuple[str, NumberFormat], Tensor] = {}
        self.scales: dict[Point, Tensor] = {}

    def run(self, images: Tensor, observe: Callable[[str, Tensor], None] | None = None) -> dict[str, Tensor]:
        """Run a batch.

        Args:
            images: float32 [N, 3, H, W].
            observe: called with the name and the unquantised values of each tensor, the images included.

        Returns:
            The network's outputs by name.
        """
        graph = self._graph
        wanted = set(points(graph, self.assignment))
        values: dict[str, Tensor] = {graph.inputs[0]: images}
        quantised: dict[Point, Tensor] = {}
        if observe is not None:
            observe(graph.inputs[0], images)
        self._quantise(graph.inputs[0], wanted, values, quantised)
        for node in graph.nodes:
            kind = self.kind_read_by(node, wanted)
            inputs = [
                quantised.get((name, kind), values[name]) if kind else values[name]
                for name in node.input
                if name in values
            ]
            name = node.output[0]
            values[name] = self._compute(node, inputs)
            if observe is not None:
                observe(name, values[name])
            self._quantise(name, wanted, values, quantised)
        return {name: values[name] for name in graph.outputs}

    def scale_of(self, point: Point) -> Tensor:
        """Return the scale of a quantised tensor."""
        return self.scales[self._groups.get(point[0], point[0]), point[1]]

    def weight(self, name: str) -> Tensor:
        """Return the weights of a convolution before they are quantised."""
        as_fitted = self.assignment.get(name) == self.fitted.get(name)
        return self.weights[name] if as_fitted else self.exact[name]

    def quantise(self, x: Tensor, point: Point) -> Tensor:
        """Quantise and dequantise a tensor."""
        return self.fake_quantise(x, self.scale_of(point), point[1])

    def fake_quantise(self, x: Tensor, scale: Tensor, kind: NumberFormat) -> Tensor:
        """Quantise and dequantise; training overrides it by the same values with gradients."""
        return fake_quantise(x, scale, kind)

    def convolve(self, node: onnx.NodeProto, x: Tensor) -> Tensor:
        """Compute a plain convolution on its input `x`, with quantised weights if it is in the assignment."""
        kind, weight = self.assignment.get(node.name), self.weight(node.name)
        return functional.conv2d(
            x,
            weight if kind is None else self.fake_quantise(weight, self.steps[node.name, kind], kind),
            self.biases[node.name],
            stride=attribute(node, "strides", [1, 1]),
            padding=attribute(node, "pads", [0] * 4)[:2],
            dilation=attribute(node, "dilations", [1, 1]),
            groups=attribute(node, "group", 1),
        )

    def kind_read_by(self, node: onnx.NodeProto, wanted: Collection[Point]) -> NumberFormat | None:
        """Return the number format in which a node reads its inputs; None is floating point.

        A quantised convolution and the sum that fuses into it read the format of the convolution. Another sum reads the
        format that one of its operands is quantised to.

        Args:
            node: of the graph.
            wanted: the tensors that are quantised.
        """
        if node.op_type == "Add":
            kinds = [kind for name in node.input for kind in QUANTISED_FORMATS if (name, kind) in wanted]
            fused = self.assignment.get(self._sums.get(node.name, ""))
            return fused if fused in kinds else next(iter(kinds), None)
        return self.assignment.get(node.name)

    def _quantise(
        self, name: str, wanted: set[Point], values: Mapping[str, Tensor], quantised: dict[Point, Tensor]
    ) -> None:
        for kind in QUANTISED_FORMATS:
            if (name, kind) not in wanted:
                continue
            producer = self._graph.producers.get(name)
            if producer is not None and producer.op_type in VALUE_KEEPING:
                sources = [quantised[source, kind] for source in producer.input if (source, kind) in quantised]
                quantised[name, kind] = self._compute(producer, sources)
            else:
                quantised[name, kind] = self.quantise(values[name], (name, kind))

    def _compute(self, node: onnx.NodeProto, x: list[Tensor]) -> Tensor:
        if node.op_type == "Conv":
            return self.convolve(node, x[0])
        if node.op_type == "DeformConv":
            return deform_conv(x[0], self.exact[node.name], x[1]) + self.biases[node.name][:, None, None]
        if node.op_type == "LeakyRelu":
            return functional.leaky_relu(x[0], attribute(node, "alpha", 0.01))
        if node.op_type == "Relu":
            return functional.relu(x[0])
        if node.op_type == "Clip":
            return x[0].clamp(*(float(self._graph.weights[name]) for name in node.input[1:]))
        if node.op_type == "Add":
            return x[0] + x[1]
        if node.op_type == "Concat":
            return torch.cat(x, attribute(node, "axis"))
        if node.op_type == "MaxPool":
            kernel, strides = attribute(node, "kernel_shape"), attribute(node, "strides", [1, 1])
            return functional.max_pool2d(x[0], kernel, strides, attribute(node, "pads", [0] * 4)[:2])
        if node.op_type == "Resize" and attribute(node, "mode") == b"nearest":
            return functional.interpolate(x[0], scale_factor=2.0, mode="nearest")
        raise BuildError(f"operator {node.op_type} ({node.name}) cannot be quantised by this version: use fp16")
