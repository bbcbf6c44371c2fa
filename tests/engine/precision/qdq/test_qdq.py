"""The written Q/DQ graph: its nodes and constants, and that it computes the same as the simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from engine.config.detection import InputSize
from engine.config.formats import FP8, INT8, QUANTISED_FORMATS, NumberFormat
from engine.precision.qdq import simulate
from engine.precision.qdq.graph import VALUE_KEEPING, Graph
from engine.precision.qdq.placement import Assignment, points, quantisable, residual
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import Coverage, coverage, write_quantised
from tests.support import graphs
from tests.support.family import random_images, settled_model
from tests.support.shared import exported

_TYPES = {INT8: TensorProto.INT8, FP8: TensorProto.FLOAT8E4M3FN}
_EPILOGUE = {"Conv", "Relu", "LeakyRelu", "Add"}


def _assignment(graph: Graph, name: str) -> Assignment:
    int8 = dict.fromkeys(quantisable(graph, INT8), INT8)
    fp8 = dict.fromkeys(quantisable(graph, FP8), FP8)
    return {
        "int8": int8,
        "fp8": fp8,
        "few": dict.fromkeys(("depthwise", "lateral", "merge"), INT8),
        "mixed": {**int8, "left": FP8, "merge": FP8},
        "all three": {n: k for n, k in {**int8, "down": FP8, "pointwise": FP8}.items() if n not in ("right", "merge")},
    }[name]


ASSIGNMENTS = ["int8", "fp8", "few", "mixed", "all three"]


class Written:
    """A written network with lookups."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Index its nodes."""
        self.model = model
        self.nodes = list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.constants = {t.name: t for t in model.graph.initializer}

    def of(self, kind: str) -> list[onnx.NodeProto]:
        """Nodes of one type."""
        return [node for node in self.nodes if node.op_type == kind]

    def maker(self, name: str) -> str:
        """Type of the node that makes a tensor."""
        return self.makers[name].op_type if name in self.makers else "constant"

    def readers(self, name: str) -> set[str]:
        """Types of the nodes that read a tensor."""
        return {node.op_type for node in self.nodes if name in node.input}

    def array(self, name: str) -> NDArray[Any]:
        """A constant."""
        return numpy_helper.to_array(self.constants[name])


def _write(assignment: str) -> tuple[Graph, Simulation, Written]:
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    network = graphs.quantised(graph, _assignment(graph, assignment), graphs.images(1))
    return graph, network, Written(write_quantised(graph, network))


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_quantised_convolutions_read_nothing_but_dequantised_values(name: str) -> None:
    graph, network, written = _write(name)
    for conv in written.of("Conv"):
        kind = network.assignment.get(conv.name)
        data, weight = (written.makers.get(n) for n in conv.input[:2])
        if kind is None:
            assert weight is None
            assert written.constants[conv.input[1]].data_type == TensorProto.FLOAT16
            assert data is None or data.op_type != "DequantizeLinear"
            continue
        assert data is not None
        assert weight is not None
        for dequantise in (data, weight):
            assert dequantise.op_type == "DequantizeLinear"
            assert written.constants[dequantise.input[2]].data_type == _TYPES[kind]
        # The activation comes from QuantizeLinear, the weights from a constant.
        assert written.maker(data.input[0]) == "QuantizeLinear"
        assert written.constants[weight.input[0]].data_type == _TYPES[kind]
        assert written.constants[conv.input[2]].data_type == TensorProto.FLOAT16
    assert {conv.name for conv in written.of("Conv")} == set(graph.convolutions)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_only_epilogues_lie_between_quantised_convolutions(name: str) -> None:
    graph, network, written = _write(name)
    casts = written.of("Cast")
    assert len(casts) == 1 + len(graph.outputs)
    outer = {value.name for value in (*written.model.graph.input, *written.model.graph.output)}
    assert all(outer & {*cast.input, *cast.output} for cast in casts)
    for quantise in written.of("QuantizeLinear"):
        source = quantise.input[0]
        if written.maker(source) in VALUE_KEEPING:  # on quantised values, not on float ones
            moved = written.makers[source]
            data = moved.input if moved.op_type == "Concat" else moved.input[:1]
            assert {written.maker(n) for n in data} == {"DequantizeLinear"}
            assert written.readers(source) == {"QuantizeLinear"}
        else:
            assert written.maker(source) in _EPILOGUE | {"Cast"}
    if name == "int8":
        for node in (node for operator in VALUE_KEEPING for node in written.of(operator)):
            assert written.readers(node.output[0]) == {"QuantizeLinear"}
    for convolution in graph.convolutions.values():
        other = residual(graph, convolution)
        if convolution.name in network.assignment and other is not None:
            kind = network.assignment[convolution.name]
            (add,) = (n for n in written.of("Add") if f"{other}_{kind}_dq" in n.input)
            makers = [written.maker(n) for n in add.input]
            assert makers.count("DequantizeLinear") == 1
            assert set(makers) <= _EPILOGUE | {"DequantizeLinear"}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_every_quantised_tensor_has_one_pair_per_format(name: str) -> None:
    """With more pairs some would be useless, with fewer a reader would be in float."""
    graph, network, written = _write(name)
    wanted = points(graph, network.assignment)
    assert len(written.of("QuantizeLinear")) == len(wanted) == len(set(wanted))
    assert len(written.of("DequantizeLinear")) == len(wanted) + len(network.assignment)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_constants(name: str) -> None:
    graph, network, written = _write(name)
    read = {n for node in written.nodes for n in node.input}
    assert set(written.constants) <= read
    assert len(written.constants) == len(written.model.graph.initializer)
    for node in (*written.of("QuantizeLinear"), *written.of("DequantizeLinear")):
        assert written.constants[node.input[1]].data_type == TensorProto.FLOAT16
        assert (written.array(node.input[1]) > 0).all()
        assert not written.array(node.input[2]).astype(np.float32).any()
    for conv_name, kind in network.assignment.items():
        (conv,) = (n for n in written.of("Conv") if n.name == conv_name)
        dequantise = written.makers[conv.input[1]]
        assert [a.i for a in dequantise.attribute if a.name == "axis"] == [0]
        scale = written.array(dequantise.input[1])
        grid = written.array(dequantise.input[0]).astype(np.float32)
        exact = graph.weights[graph.convolutions[conv_name].weight]
        largest = np.abs(exact).max(axis=(1, 2, 3))
        limit = 127 if kind == INT8 else 448
        np.testing.assert_array_equal(scale, np.maximum(largest / limit, 2.0**-14).astype(np.float16))
        np.testing.assert_allclose(np.abs(grid).max(axis=(1, 2, 3)), limit, rtol=0.01)  # the whole range is used
        # At most half a step: steps are 1 for integers and at most an eighth of the value for FP8.
        bound = scale[:, None, None, None] * (0.501 if kind == INT8 else np.maximum(np.abs(grid) / 15, 2.0**-9))
        assert (
            np.abs(grid * scale[:, None, None, None].astype(np.float32) - exact) <= bound + 1e-3 * np.abs(exact)
        ).all()


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_coverage(name: str) -> None:
    graph, network, written = _write(name)
    share = sum(graph.convolutions[n].macs for n in network.assignment) / sum(
        c.macs for c in graph.convolutions.values()
    )
    found = coverage(graph, written.model)
    assert (found.convolutions, found.quantised) == (len(graph.convolutions), len(network.assignment))
    assert found.macs_share == pytest.approx(share)
    assert 0 < share <= 1


def test_coverage_by_hand(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    model = b.model(b.conv("second", b.conv("first", "images", 4, stride=2), 2, kernel=1))
    graph = Graph(model, graphs.SIZE)
    written = write_quantised(graph, graphs.quantised(graph, {"second": INT8}, graphs.images(1)))
    first, second = 16 * 16 * 4 * 3 * 9, 16 * 16 * 2 * 4
    assert coverage(graph, written) == Coverage(2, 1, second / (first + second))


@pytest.mark.parametrize("kind", [INT8, FP8])
def test_one_convolution_computes_what_was_simulated(rng: np.random.Generator, kind: NumberFormat) -> None:
    """Scales are powers of two, so only roundings to float16 differ."""
    b = graphs.Builder(rng)
    graph = Graph(b.model(b.conv("out", "images", 16)), graphs.SIZE)
    batch = graphs.images(2).astype(np.float16).astype(np.float32)
    network = graphs.quantised(graph, {"out": kind}, batch, powers=True)
    wanted = graphs.simulate(network, batch)["out"]
    given = graphs.run(write_quantised(graph, network), batch)["out"]
    # Bias, sum and result are rounded to float16: half a unit in the last place each.
    np.testing.assert_allclose(given, wanted, rtol=2.0**-10, atol=2.0**-10 * np.abs(graph.weights["out_bias"]).max())


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_every_step_computes_what_was_simulated(name: str) -> None:
    """Each node from ONNX Runtime's own inputs, so that float16 errors do not accumulate."""
    graph, network, written = _write(name)
    inner = tuple(n for node in written.nodes for n in node.output if node.op_type != "QuantizeLinear")
    outputs = {value.name for value in written.model.graph.output}
    values = graphs.run(written.model, graphs.images(1), extra=tuple(n for n in inner if n not in outputs))
    values = {n: value.astype(np.float32) for n, value in values.items()}
    nodes = {node.name: node for node in graph.nodes}
    for conv in written.of("Conv"):
        x, given = torch.from_numpy(values[conv.input[0]]), values[conv.output[0]]
        wanted = network.convolve(nodes[conv.name], x).numpy()
        # Relative errors of 2^-11 in the weights and in the result, relative to the largest value.
        np.testing.assert_allclose(
            given, wanted, rtol=2.0**-10, atol=2.0**-10 * np.abs(wanted).max(), err_msg=conv.name
        )
    for point in points(graph, network.assignment):
        (quantise,) = (n for n in written.of("QuantizeLinear") if n.output[0] == f"{point[0]}_{point[1]}")
        source, given = values[quantise.input[0]], values[f"{quantise.output[0]}_dq"]
        wanted = network.quantise(torch.from_numpy(source), point).numpy()
        # Float16 changes the rounding of a few values near ties.
        assert np.mean(np.abs(given - wanted) > 2.0**-10 * np.abs(wanted)) < 0.03, point
        step = float(network.scale_of(point)) * (1 if point[1] == INT8 else 32)
        assert np.abs(given - wanted).max() <= 1.01 * step, point


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_network_computes_what_was_simulated(name: str) -> None:
    """In the whole network a value near a tie may move by a whole step and change later ones.

    ONNX Runtime's heads therefore differ from the simulated ones, but less than those do from float32.
    """
    graph, network, written = _write(name)
    batch = graphs.images(1)
    wanted, given, exact = (
        graphs.simulate(network, batch),
        *(graphs.run(m, batch) for m in (written.model, graph.model)),
    )
    for head, value in wanted.items():
        assert graphs.relative_rms(given[head], value) < 0.8 * graphs.relative_rms(value, exact[head]) < 0.16, head


def test_a_new_number_format_needs_an_entry_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """FP8 with five bits of exponent, which is no precision of this program."""
    e5m2 = NumberFormat("e5m2", "FLOAT8E5M2", "float8_e5m2", -57344.0, 57344.0, quantised=True)
    monkeypatch.setattr(simulate, "QUANTISED_FORMATS", (*QUANTISED_FORMATS, e5m2))
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    batch = graphs.images(1)
    network = graphs.quantised(graph, dict.fromkeys(quantisable(graph, e5m2), e5m2), batch)
    written = write_quantised(graph, network)
    assert coverage(graph, written).macs_share == 1.0
    assert TensorProto.FLOAT8E5M2 in {t.data_type for t in written.graph.initializer}
    wanted, given, exact = graphs.simulate(network, batch), *(graphs.run(m, batch) for m in (written, graph.model))
    for head, value in wanted.items():
        # Errors of two bits of mantissa are far above those of float16.
        assert graphs.relative_rms(given[head], value) < 0.5 * graphs.relative_rms(value, exact[head]), head


def test_nothing_assigned_is_float16() -> None:
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    written = write_quantised(graph, Simulation(graph))
    assert coverage(graph, written) == Coverage(len(graph.convolutions), 0, 0.0)
    assert "QuantizeLinear" not in {node.op_type for node in written.graph.node}
    assert "Cast" in {node.op_type for node in written.graph.node}


@pytest.mark.slow
def test_shared_convolutions_get_weights_of_their_own() -> None:
    """All levels of this model share a context module: each use has weights of its own."""
    model = settled_model("resnet18-lite")
    graph = Graph(prepare(exported(model, InputSize.fixed(64, 96))), (64, 96))
    assert "BatchNormalization" not in {node.op_type for node in graph.nodes}
    assert len({c.weight for c in graph.convolutions.values()}) == len(graph.convolutions)
    batch = random_images(model.config, 1, 3, 64, 96)
    network = graphs.quantised(graph, dict.fromkeys(quantisable(graph, INT8), INT8), batch)
    written = write_quantised(graph, network)
    assert coverage(graph, written).macs_share == 1.0
    with torch.no_grad():
        wanted = dict(zip(model.config.head_names(), model(torch.from_numpy(batch)), strict=True))
    given = graphs.simulate(Simulation(graph), batch)
    for name, head in wanted.items():
        np.testing.assert_allclose(given[name], head.numpy(), rtol=0, atol=1e-4 * float(head.abs().max()))


@pytest.mark.slow
def test_mobilenet_in_int8(mobilenet: onnx.ModelProto, rng: np.random.Generator) -> None:
    graph = Graph(prepare(mobilenet), (96, 96))
    batch = rng.normal(0, 50, (1, 3, 96, 96)).astype(np.float32)
    network = graphs.quantised(graph, dict.fromkeys(quantisable(graph, INT8), INT8), batch)
    written = Written(write_quantised(graph, network))
    assert coverage(graph, written.model) == Coverage(56, 56, 1.0)
    # Two sums of the pyramid, each of a convolution and a quantised branch.
    assert [sorted(map(written.maker, node.input)) for node in written.of("Add")] == [
        ["DequantizeLinear", "LeakyRelu"]
    ] * 2
    assert len(written.of("QuantizeLinear")) == len(points(graph, network.assignment))
