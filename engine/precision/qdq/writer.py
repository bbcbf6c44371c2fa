"""Writing of a quantised network: QuantizeLinear and DequantizeLinear in a strongly typed float16 graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.formats import FP16, NumberFormat
from engine.precision.cast import constant, inner_name, to_fp16
from engine.precision.qdq.graph import VALUE_KEEPING, Graph, with_weights
from engine.precision.qdq.placement import Point, points, value_inputs
from engine.precision.qdq.simulate import Simulation, to_grid

if TYPE_CHECKING:
    import onnx


def write_quantised(graph: Graph, network: Simulation) -> onnx.ModelProto:
    """Write the network as assigned: Q/DQ around quantised tensors, float16 elsewhere, float32 inputs and outputs.

    Args:
        graph: of the simulation.
        network: with its assignment, scales, weights and biases.

    Returns:
        A checked model in which every quantised convolution reads DequantizeLinear on both inputs.
    """
    import onnx

    weights = {c.weight: network.weight(name).numpy() for name, c in graph.convolutions.items()}
    biases = {c.bias: network.biases[name].numpy() for name, c in graph.convolutions.items()}
    model = to_fp16(with_weights(graph.model, {**weights, **biases}))
    writer = _Writer(graph, network, model)
    writer.write()
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Builds a new list of nodes, the Q/DQ nodes of each tensor right behind its producer."""

    def __init__(self, graph: Graph, network: Simulation, model: onnx.ModelProto) -> None:
        self._graph = graph
        self._network = network
        self._model = model
        self._nodes: list[onnx.NodeProto] = []
        self._wanted = points(graph, network.assignment)
        self._outer = {self._inner(name): name for name in (*graph.inputs, *graph.outputs)}

    def write(self) -> None:
        kinds = {kind for _, kind in self._wanted} | set(self._network.assignment.values())
        for kind in sorted(kinds, key=str):
            self._constant(f"zero_{kind}", np.zeros(()), kind)
        for point in self._wanted:
            self._constant(_scale_name(point), self._network.scale_of(point).numpy(), FP16)
        for node in self._model.graph.node:
            self._read_quantised(node)
            self._nodes.append(node)
            name = self._outer.get(node.output[0], node.output[0])
            for point in self._wanted:
                if point[0] == name and node.output[0] == self._inner(name):
                    self._dequantised(point)
        del self._model.graph.node[:]
        self._model.graph.node.extend(self._nodes)
        self._drop_unread()

    def _inner(self, name: str) -> str:
        return inner_name(self._graph.model, name)

    def _read_quantised(self, node: onnx.NodeProto) -> None:
        kind = self._network.kind_read_by(node, self._wanted)
        if kind is None:
            return
        for i, name in enumerate(node.input):
            point = (self._outer.get(name, name), kind)
            if point in self._wanted:
                node.input[i] = _dq_name(point)
        if node.name in self._network.assignment:
            node.input[1] = self._weight(node.name, kind)

    def _dequantised(self, point: Point) -> None:
        """Add the Q/DQ nodes of a tensor. A value-keeping operator is repeated on the quantised values."""
        name, kind = point
        producer = self._graph.producers.get(name)
        source = self._inner(name)
        if producer is not None and producer.op_type in VALUE_KEEPING:
            moved = type(producer)()
            moved.CopyFrom(producer)
            moved.name, source = f"{producer.name}_{kind}", f"{name}_{kind}_moved"
            inputs = set(value_inputs(self._graph, name))
            moved.input[:] = [_dq_name((n, kind)) if n in inputs else n for n in producer.input]
            moved.output[:] = [source]
            self._nodes.append(moved)
        self._pair(source, _scale_name(point), kind, f"{name}_{kind}", _dq_name(point))

    def _pair(self, source: str, scale: str, kind: NumberFormat, quantised: str, output: str) -> None:
        from onnx import helper

        zero = f"zero_{kind}"
        self._nodes += [
            helper.make_node("QuantizeLinear", [source, scale, zero], [quantised], name=f"{quantised}_q"),
            helper.make_node("DequantizeLinear", [quantised, scale, zero], [output], name=f"{output}_dq"),
        ]

    def _weight(self, name: str, kind: NumberFormat) -> str:
        from onnx import helper

        convolution = self._graph.convolutions[name]
        steps = self._network.steps[name, kind]
        grid = self._network.weight(name) / steps
        quantised, scale = f"{convolution.weight}_{kind}", f"{convolution.weight}_scale_{kind}"
        zeros = f"{convolution.weight}_zero_{kind}"
        self._constant(quantised, to_grid(grid, kind).numpy(), kind)
        self._constant(scale, steps.flatten().numpy(), FP16)
        self._constant(zeros, np.zeros(steps.numel()), kind)
        output = f"{quantised}_dq"
        self._nodes.append(
            helper.make_node("DequantizeLinear", [quantised, scale, zeros], [output], name=output, axis=0)
        )
        return output

    def _constant(self, name: str, values: NDArray[Any], kind: NumberFormat) -> None:
        self._model.graph.initializer.append(constant(name, values, kind))

    def _drop_unread(self) -> None:
        """Remove nodes and initialisers without readers: those whose quantised form is read instead."""
        graph = self._model.graph
        outputs = {value.name for value in graph.output}
        while True:
            read = {name for node in graph.node for name in node.input} | outputs
            idle = [node for node in graph.node if not read.intersection(node.output)]
            if not idle:
                break
            for node in idle:
                graph.node.remove(node)
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _dq_name(point: Point) -> str:
    return f"{point[0]}_{point[1]}_dq"


def _scale_name(point: Point) -> str:
    return f"{point[0]}_{point[1]}_scale"


@dataclass(frozen=True)
class Coverage:
    """How much of a network is quantised.

    Attributes:
        convolutions: number of all convolutions.
        quantised: number of convolutions that read DequantizeLinear on both inputs.
        macs_share: share of the MACs in 8 bits.
    """

    convolutions: int
    quantised: int
    macs_share: float


def coverage(graph: Graph, model: onnx.ModelProto) -> Coverage:
    """Count the quantised convolutions of a written model by its nodes."""
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    quantised = {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and all(producers.get(name) == "DequantizeLinear" for name in node.input[:2])
    }
    macs = {c.name: c.macs for c in graph.convolutions.values()}
    return Coverage(len(macs), len(quantised), sum(macs[name] for name in quantised) / sum(macs.values()))
