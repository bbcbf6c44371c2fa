"""Rewriting changes the nodes, but not a bit of the outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from engine.precision.qdq.rewrite import prepare, with_plain_names
from tests.support.graphs import Builder, images, run


def _field(rng: np.random.Generator, activation: str, **attributes: float) -> onnx.ModelProto:
    b = Builder(rng)
    joined = b.op("Concat", "joined", b.conv_without_bias("a", "images", 5), b.conv("b", "images", 7), axis=1)
    return b.model(b.conv_without_bias("out", b.op(activation, "act", joined, **attributes), 4))


@pytest.mark.parametrize(("activation", "attributes"), [("Relu", {}), ("LeakyRelu", {"alpha": 0.3})])
def test_outputs_are_the_same_to_the_last_bit(
    rng: np.random.Generator, activation: str, attributes: dict[str, float]
) -> None:
    given = _field(rng, activation, **attributes)
    before = given.SerializeToString()
    rewritten = prepare(given)
    assert given.SerializeToString() == before
    producers = {node.output[0]: node for node in rewritten.graph.node}
    concat = producers["act"]
    assert concat.op_type == "Concat"
    assert [producers[name].op_type for name in concat.input] == [activation] * 2
    assert not any("Concat" in {producers[n].op_type for n in node.input if n in producers}
                   for node in rewritten.graph.node if node.op_type == activation)  # fmt: skip
    batch = images(1, 2)
    np.testing.assert_array_equal(run(rewritten, batch)["out"], run(given, batch)["out"])


def test_every_convolution_gets_a_bias(rng: np.random.Generator) -> None:
    b = Builder(rng)
    given = b.model(b.deform_conv("out", b.conv_without_bias("first", "images", 6), 4))
    rewritten = prepare(given)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in rewritten.graph.initializer}
    biases = {n.name: arrays[n.input[-1]] for n in rewritten.graph.node}
    assert {n.op_type: len(n.input) for n in rewritten.graph.node} == {"Conv": 3, "DeformConv": 4}
    np.testing.assert_array_equal(biases["first"], np.zeros(6))
    np.testing.assert_array_equal(biases["out"], np.zeros(4))
    assert np.abs(biases["out_offset"]).min() > 0  # the one it had
    batch = images(2)
    np.testing.assert_array_equal(run(rewritten, batch)["out"], run(given, batch)["out"])


def test_an_activation_stays_where_the_concatenation_has_another_reader(rng: np.random.Generator) -> None:
    b = Builder(rng)
    joined = b.op("Concat", "joined", b.conv("a", "images", 5), b.conv("b", "images", 7), axis=1)
    b.op("Relu", "act", joined)
    given = b.model(b.conv("out", "act", 4), b.conv("other", joined, 4))
    assert list(prepare(given).graph.node) == list(given.graph.node)


@pytest.mark.slow
def test_mobilenet(mobilenet: onnx.ModelProto) -> None:
    rewritten = prepare(mobilenet)
    producers = {node.output[0]: node for node in rewritten.graph.node}
    behind = [producers[n.input[0]].op_type for n in rewritten.graph.node if n.op_type in ("Relu", "LeakyRelu")]
    assert set(behind) == {"Conv"}
    batch = np.random.default_rng(0).normal(0, 50, (1, 3, 96, 96)).astype(np.float32)
    wanted, given = run(mobilenet, batch), run(rewritten, batch)
    for name, head in wanted.items():
        np.testing.assert_array_equal(given[name], head)


def test_plain_names_are_the_same_whatever_the_exporter_names(rng: np.random.Generator) -> None:
    given = _field(rng, "Relu")
    other = onnx.ModelProto()
    other.CopyFrom(given)
    other.graph.node[1].name = "node_17"
    for node in other.graph.node:
        node.input[:] = ["Conv_0_output" if name == "b" else name for name in node.input]  # that of another node
        node.output[:] = ["Conv_0_output" if name == "b" else name for name in node.output]
    plain = with_plain_names(other)
    assert plain.SerializeToString() == with_plain_names(given).SerializeToString()
    assert [node.name for node in plain.graph.node] == ["Conv_0", "Conv_1", "Concat_0", "Relu_0", "Conv_2"]
    batch = images(1, 2)
    np.testing.assert_array_equal(run(plain, batch)["out"], run(given, batch)["out"])
