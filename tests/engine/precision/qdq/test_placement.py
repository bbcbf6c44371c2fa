"""The quantised tensors of networks small enough to list them by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from engine.config.formats import FP8, INT8
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import points, quantisable, residual, scale_groups
from tests.support.graphs import SIZE, Builder


@pytest.fixture
def b(rng: np.random.Generator) -> Builder:
    return Builder(rng)


def _points(model: onnx.ModelProto, *names: str) -> set[str]:
    """Return the quantised tensors if the named convolutions, or all, are INT8."""
    graph = Graph(model, SIZE)
    wanted = names or tuple(graph.convolutions)
    return {name for name, kind in points(graph, dict.fromkeys(wanted, INT8))}


def test_a_chain(b: Builder) -> None:
    model = b.model(b.conv("last", b.op("Relu", "act", b.conv("first", "images", 8)), 4))
    assert _points(model) == {"images", "act"}
    assert _points(model, "last") == {"act"}
    assert Graph(model, SIZE).convolutions["first"].macs == 8 * 3 * 9 * 32 * 32


def test_an_identity_shortcut_is_quantised_once_for_both_readers(b: Builder) -> None:
    block = b.op("Relu", "block", b.conv("first", "images", 8))
    second = b.conv("second", b.op("Relu", "inner", b.conv("branch", block, 8)), 8)
    model = b.model(b.conv("out", b.op("Relu", "after", b.op("Add", "sum", second, block)), 4))
    graph = Graph(model, SIZE)
    assert [residual(graph, graph.convolutions[n]) for n in ("first", "branch", "second")] == [None, None, "block"]
    assert _points(model) == {"images", "block", "inner", "after"}
    assert _points(model, "second") == {"inner", "block"}


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_convolutions_that_are_added_one_takes_the_sum(b: Builder, swapped: bool) -> None:
    """The output of the other convolution is quantised for the sum."""
    operands = [b.conv("branch", "images", 8), b.conv("shortcut", "images", 8, kernel=1)]
    first, second = reversed(operands) if swapped else operands
    model = b.model(b.conv("out", b.op("Add", "sum", first, second), 4))
    graph = Graph(model, SIZE)
    assert residual(graph, graph.convolutions[first]) == second
    assert residual(graph, graph.convolutions[second]) is None
    assert _points(model) == {"images", second, "sum"}


def test_operands_of_a_sum_that_does_not_fuse_are_not_quantised(b: Builder) -> None:
    """The convolution has another reader, so its plain output must exist."""
    first = b.conv("first", "images", 3)
    model = b.model(b.op("Add", "sum", first, "images"), b.conv("out", first, 4))
    graph = Graph(model, SIZE)
    assert residual(graph, graph.convolutions["first"]) is None


def test_an_activation_between_convolution_and_sum_fuses_too(b: Builder) -> None:
    lateral = b.op("LeakyRelu", "act", b.conv("lateral", "images", 3), alpha=0.1)
    graph = Graph(b.model(b.op("Add", "sum", lateral, "images")), SIZE)
    assert residual(graph, graph.convolutions["lateral"]) == "images"


def test_both_sides_of_a_value_keeping_operator_share_one_scale(b: Builder) -> None:
    left, right = (b.op("Relu", f"{n}_act", b.conv(n, "images", 4)) for n in ("left", "right"))
    both = b.op("Concat", "both", left, right, axis=1)
    pooled = b.op("MaxPool", "pooled", both, kernel_shape=[2, 2], strides=[2, 2])
    model = b.model(b.conv("out", b.double("doubled", pooled), 4))
    assert _points(model, "out") == {"left_act", "right_act", "both", "pooled", "doubled"}
    groups = scale_groups(Graph(model, SIZE))
    assert set(groups) == {"left_act", "right_act", "both", "pooled", "doubled"}
    assert len(set(groups.values())) == 1


def test_groups_that_share_a_tensor_are_one(b: Builder) -> None:
    """`a` is an input of two concatenations: their other inputs share its scale, and no other tensor does."""
    a, left, right = (b.conv(n, "images", 4) for n in ("a", "left", "right"))
    one, two = b.op("Concat", "one", left, a, axis=1), b.op("Concat", "two", a, right, axis=1)
    model = b.model(b.conv("out", one, 4), b.conv("other", two, 4))
    groups = scale_groups(Graph(model, SIZE))
    assert set(groups) == {"a", "left", "right", "one", "two"}
    assert len(set(groups.values())) == 1
    assert "images" not in groups


def test_separate_groups_stay_separate(b: Builder) -> None:
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    first = b.op("MaxPool", "first_pool", b.conv("first", "images", 4), **pool)
    second = b.op("MaxPool", "second_pool", b.conv("second", first, 4), **pool)
    groups = scale_groups(Graph(b.model(b.conv("out", second, 4)), SIZE))
    assert groups["first"] == groups["first_pool"] != groups["second"] == groups["second_pool"]


def test_a_tensor_may_be_quantised_to_two_formats(b: Builder) -> None:
    first = b.op("Relu", "act", b.conv("first", "images", 16))
    graph = Graph(b.model(b.conv("one", first, 16), b.conv("two", first, 16)), SIZE)
    assert set(points(graph, {"one": INT8, "two": FP8})) == {("act", INT8), ("act", FP8)}


def test_convolutions_with_kernels(b: Builder) -> None:
    x = b.conv("first", "images", 16)
    x = b.conv("depthwise", x, 16, groups=16)
    x = b.conv("pointwise", x, 32, kernel=1)
    x = b.conv("grouped", x, 32, groups=2)
    x = b.deform_conv("deformable", x, 32)
    graph = Graph(_with_biases(b.model(b.conv("head", x, 20, kernel=1))), SIZE)
    plain = ["first", "depthwise", "pointwise", "grouped", "deformable_offset", "head"]
    assert quantisable(graph, INT8) == plain
    # The others have 3 input channels, groups, or 18 or 20 output channels.
    assert quantisable(graph, FP8) == ["pointwise"]


def _with_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    from engine.precision.qdq.rewrite import prepare

    return prepare(model)
