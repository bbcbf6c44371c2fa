"""Heads of any kind in standard operators, against the operators that engines have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.config.detection import Thresholds
from engine.config.heads import ValueHead
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.export.network import check_names
from engine.export.suppression import SUPPRESSIONS
from tests.engine.export.tails import RANGE, SIZE, Tail, assert_same, pass_through, random_heads


def points_if(size: int) -> str:
    """The coding of a head: six values are three points."""
    return "points" if size == 6 else "plain"


def config_of(
    classes: int, points: int, values: tuple[int, ...], coding: str = "softmax", name: str = "mobilenet0.25"
) -> RetinaFaceConfig:
    """A preset with other heads."""
    return replace(
        preset(name),
        classes=tuple(f"class {i}" for i in range(1, classes)),
        class_coding=coding,
        heads=("class", "box", "landmark") if points else ("class", "box"),
        mirrored_points=tuple(range(points)) if points else (1, 0, 2, 4, 3),
        values=tuple(ValueHead(f"values_of_{i}", size, points_if(size)) for i, size in enumerate(values)),
    )


CASES = {
    "two classes, values": config_of(2, 5, (144,)),
    "two, sigmoid": config_of(2, 0, (), "sigmoid"),
    "three": config_of(3, 5, ()),
    "three, one point": config_of(3, 1, (1,), name="full"),
    "four, sigmoid": config_of(4, 4, (), "sigmoid"),
    "five, many points": config_of(5, 68, (144, 1)),
    "three, sigmoid, most points": config_of(3, 128, (1,), "sigmoid"),
    "values that are points": config_of(2, 5, (3, 6)),
    "values that are points, of a cascade": config_of(2, 0, (6,), name="full"),
}


@pytest.mark.parametrize("method", SUPPRESSIONS)
@pytest.mark.parametrize("name", CASES)
def test_faces_are_those_of_the_operators(name: str, method: str) -> None:
    rng = np.random.default_rng(len(name))
    for agnostic in (False, True)[: len(CASES[name].classes)]:
        tail = Tail(
            replace(CASES[name], class_agnostic=agnostic),
            method,
            Thresholds(0.3, iou=0.3, top_k=200, max_detections=60),
        )
        heads = random_heads(tail.config, rng, 3, bias=-1)
        heads["logits_16"][1] = np.nan
        for head in tail.config.values:
            heads[f"{head.name}_8"][2, 0, 0] = np.inf  # of some anchors
        ours = tail.ours(heads)
        assert ours.num_detections.min() > 3
        assert_same(tail.run(heads), ours)


def test_classes_suppress_their_own_faces_unless_told_otherwise() -> None:
    counts = []
    for agnostic in (False, True):
        tail = Tail(replace(CASES["three"], class_agnostic=agnostic), "nms", Thresholds(0.3, iou=0.1))
        found = tail.run(random_heads(tail.config, np.random.default_rng(0), 1))
        assert found.classes is not None
        assert set(found.classes[0, : found.num_detections[0]].tolist()) == {1, 2}
        counts.append(int(found.num_detections[0]))
    assert counts[0] > counts[1]


@pytest.mark.parametrize("method", SUPPRESSIONS)
def test_any_size_in_a_range(method: str) -> None:
    """Small inputs have fewer candidates than slots."""
    tail = Tail(CASES["three, one point"], method, Thresholds(0.2, top_k=5000), RANGE)
    for size in (RANGE.minimum, RANGE.maximum):
        heads = random_heads(tail.config, np.random.default_rng(1), 2, size=size)
        assert_same(tail.run(heads), tail.ours(heads))


def test_values_have_no_names_of_tensors_inside_the_network() -> None:
    config = CASES["five, many points"]
    graph = pass_through(config, SIZE).graph
    check_names(graph, config)
    graph.node[0].output[0] = "values_of_1"
    with pytest.raises(InvalidArgumentError, match=r"values is .'values_of_1'., expected other names"):
        check_names(graph, config)
    graph.node[0].output[0] = "another"
    graph.initializer.add(name="values_of_0")
    with pytest.raises(InvalidArgumentError, match=r"values is .'values_of_0'."):
        check_names(graph, config)


def test_margins_of_far_apart_and_equal_logits() -> None:
    """A class that is certain, one that is nearly so, and equal ones keep float32's digits."""
    tail = Tail(config_of(4, 0, ()), "loop", Thresholds(score=0.0, iou=1.0, top_k=5000, max_detections=5000))
    heads = random_heads(tail.config, np.random.default_rng(2), 2)
    logits = heads["logits_8"]
    logits[:, :4] = np.array([0, 1, 1, 30], np.float32)[:, None, None]
    logits[:, 4:] = np.array([-80, 80, 79, -200], np.float32)[:, None, None]
    assert_same(tail.run(heads), tail.ours(heads))
