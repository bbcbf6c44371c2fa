"""Equalisation gives all channels the same range and does not change the outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from engine.config.formats import INT8
from engine.precision.calibrate.equalise import equalise, scale_classes
from engine.precision.calibrate.observe import channel_maxima
from engine.precision.qdq.graph import Graph, with_weights
from engine.precision.qdq.placement import points, quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray
from tests.support import graphs

# Scaling a channel by s and 1 / s adds two roundings in each of about ten layers.
RTOL = 2e-5


def _maxima(graph: Graph, batch: FloatArray) -> dict[str, FloatArray]:
    names = [name for name, _ in points(graph, dict.fromkeys(quantisable(graph, INT8), INT8))]
    return channel_maxima(Simulation(graph), [batch], names)


def _network(kind: str, rng: np.random.Generator) -> onnx.ModelProto:
    b = graphs.Builder(rng)
    x = b.op("LeakyRelu", "a", b.conv("first", "images", 8), alpha=0.1)
    if kind == "depthwise":
        x = b.op("Relu", "b", b.conv("second", x, 8, groups=8))
    elif kind == "multiplied":  # two outputs for each input channel
        x = b.op("Relu", "b", b.conv("second", x, 16, groups=8))
    elif kind == "grouped":
        x = b.op("Relu", "b", b.conv("second", x, 12, groups=2))
    elif kind == "shortcut":
        x = b.op("Relu", "b", b.op("Add", "sum", b.conv("second", x, 8), x))
    elif kind == "downsampled":
        shortcut = b.conv("shortcut", x, 8, kernel=1, stride=2)
        x = b.op("Relu", "b", b.op("Add", "sum", b.conv("second", x, 8, stride=2), shortcut))
    elif kind == "concat":
        other = b.op("Relu", "b", b.conv("second", x, 6))
        x = b.op("Concat", "both", x, other, axis=1)
    elif kind == "moved":
        x = b.double("doubled", b.op("MaxPool", "pooled", x, kernel_shape=[2, 2], strides=[2, 2]))
    elif kind == "deformable":
        x = b.op("Relu", "b", b.deform_conv("second", x, 8))
    return prepare(b.model(b.conv("out", x, 4)))


KINDS = ["depthwise", "multiplied", "grouped", "shortcut", "downsampled", "concat", "moved", "deformable"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_stay_and_ranges_become_equal(rng: np.random.Generator, kind: str) -> None:
    model = _network(kind, rng)
    graph = Graph(model, graphs.SIZE)
    batch = graphs.images(1, scale=1 / 40)
    before = _maxima(graph, batch)
    wanted = graphs.run(model, batch)
    promised = equalise(graph, before)
    given = graphs.run(with_weights(graph.model, graph.weights), batch)
    # The tolerance is relative to the largest output: a deformable convolution samples at rounded offsets.
    np.testing.assert_allclose(given["out"], wanted["out"], rtol=0, atol=RTOL * np.abs(wanted["out"]).max())
    np.testing.assert_array_equal(promised["images"], before["images"])
    after = _maxima(graph, batch)
    uneven = {"shortcut", "downsampled", "concat"}  # channels there follow the largest of several tensors
    for name, ranges in after.items():
        np.testing.assert_allclose(ranges, promised[name], rtol=1e-4, err_msg=name)
        if name != "images":
            top = max(
                before[other].max() for other in before if (kind == "concat" and other != "images") or other == name
            )
            assert ranges.max() <= top * (1 + 1e-4), name
            if kind not in uneven:
                np.testing.assert_allclose(ranges, top, rtol=1e-4, err_msg=name)
    assert before["a"].max() / before["a"].min() > 3  # else there is nothing to equalise


def test_channels_that_are_added_follow_the_largest(rng: np.random.Generator) -> None:
    graph = Graph(_network("shortcut", rng), graphs.SIZE)
    batch = graphs.images(1, scale=1 / 40)
    before = _maxima(graph, batch)
    equalise(graph, before)
    after = _maxima(graph, batch)
    shares = np.maximum(after["a"] / before["a"].max(), after["b"] / before["b"].max())
    np.testing.assert_allclose(shares[shares > 0], 1.0, rtol=1e-4)


def test_classes() -> None:
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    classes, fixed = scale_classes(graph)
    for name in ("images", *graph.outputs):
        assert set(classes[name]) == {fixed}, name
    for name in set(classes) - {"images", *graph.outputs}:
        assert len(set(classes[name]) - {fixed}) == len(classes[name]) == graph.shapes[name][1], name
    np.testing.assert_array_equal(classes["both"], [*classes["left_act"], *classes["right_act"]])
    np.testing.assert_array_equal(classes["lateral_act"], classes["coarse"])
    np.testing.assert_array_equal(classes["pooled"], classes["stem"])
    assert not set(classes["depthwise"]) & set(classes["stem"])


def test_offsets_of_a_deformable_convolution_are_pixels(rng: np.random.Generator) -> None:
    graph = Graph(_network("deformable", rng), graphs.SIZE)
    batch = graphs.images(1, scale=1 / 40)
    wanted = graphs.everything(Simulation(graph), batch)["second_offset"]
    equalise(graph, _maxima(graph, batch))
    given = graphs.everything(Simulation(graph), batch)["second_offset"]
    np.testing.assert_allclose(given, wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


def test_what_is_not_homogeneous_fixes_its_channels(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    x = b.op("Sigmoid", "bent", b.conv("first", "images", 4))
    graph = Graph(b.model(b.conv("out", x, 4)), graphs.SIZE)
    classes, fixed = scale_classes(graph)
    assert {int(i) for name in ("first", "bent") for i in classes[name]} == {fixed}


def test_a_dead_channel_is_not_magnified(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    graph = Graph(b.model(b.conv("out", b.op("Relu", "a", b.conv("first", "images", 4)), 4)), graphs.SIZE)
    graph.weights["first_bias"][2] = -1e6
    graph.weights["first_bias"][3], graph.weights["first_weight"][3] = 1e-9, 0
    weight = graph.weights["first_weight"].copy()
    batch = graphs.images(1, scale=1 / 40)
    after = equalise(graph, _maxima(graph, batch))
    np.testing.assert_array_equal(graph.weights["first_weight"][2], weight[2])
    assert after["a"][2] == 0
    assert 0 < after["a"][3] < 1e-3  # nearly always zero: it may stay below the others
    assert np.isfinite(graph.weights["out_weight"]).all()


@pytest.mark.slow
def test_mobilenet(mobilenet: onnx.ModelProto, rng: np.random.Generator) -> None:
    model = prepare(mobilenet)
    graph = Graph(model, (96, 96))
    batch = rng.normal(0, 50, (1, 3, 96, 96)).astype(np.float32)
    equalise(graph, _maxima(graph, batch))
    wanted, given = graphs.run(model, batch), graphs.run(with_weights(graph.model, graph.weights), batch)
    for name, head in wanted.items():
        np.testing.assert_allclose(given[name], head, rtol=0, atol=1e-4 * np.abs(head).max(), err_msg=name)
