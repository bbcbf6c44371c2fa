"""Points and plain values of matched faces, against one face at a time."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.agreement import Agreement, agreement
from engine.metrics.heads import HeadErrors, HeadLabels, head_errors
from engine.types import FloatArray
from tests.support.faces import detections, face

NOTHING = HeadLabels(None, {})


def of_age(ages: list[float], scores: list[float], shift: float = 0.0) -> Detections:
    """Faces of 10 pixels side by side, with a head of one value."""
    boxes = [face(50 * i + shift, 0, 10) for i in range(len(ages))]
    return Detections(
        np.reshape(boxes, (-1, 4)), scores, values={"age": np.reshape(ages, (-1, 1)), "pose": np.zeros((len(ages), 3))}
    )


def labels(landmarks: FloatArray | None = None, **values: list[list[float]]) -> HeadLabels:
    return HeadLabels(landmarks, {name: np.array(rows, np.float32) for name, rows in values.items()})


def test_values_of_two_engines_are_compared_face_by_face() -> None:
    """Changes of 1, 0 and -6 years; the last reference face is too unsure, and nothing is found in the third image."""
    reference = [of_age([10, 20], [0.9, 0.6]), of_age([30, 99], [0.8, 0.2]), of_age([], [])]
    candidate = [of_age([11, 20], [0.9, 0.1]), of_age([24, 0], [0.8, 0.9]), of_age([7], [0.9])]
    result = agreement(reference, candidate)
    age = result.values["age"]
    assert age is not None
    assert (age.count, age.minimum, age.median, age.maximum) == (3, 0, 1, 6)
    assert age.mean == pytest.approx(7 / 3)
    assert age.p95 == pytest.approx(1 + 0.9 * 5)  # linear between the second and the third
    assert result.values["pose"] is not None
    assert result.values["pose"].maximum == 0
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["values"]["age"]["maximum"] == 6


@pytest.mark.parametrize("size", [1, 144])
def test_the_change_of_a_face_is_the_mean_of_its_numbers(rng: np.random.Generator, size: int) -> None:
    ours, theirs = (rng.normal(0, 5, (4, size)).astype(np.float32) for _ in range(2))
    boxes = [face(50 * i, 0, 10) for i in range(4)]
    swapped = [2, 0, 3, 1]
    candidate = Detections(np.array(boxes)[swapped], [0.9] * 4, values={"code": theirs[swapped]})
    result = agreement([Detections(boxes, [0.9] * 4, values={"code": ours})], [candidate]).values["code"]
    expected = [math.fsum(abs(float(ours[i, j]) - float(theirs[i, j])) for j in range(size)) / size for i in range(4)]
    assert result is not None
    assert (result.minimum, result.maximum) == pytest.approx((min(expected), max(expected)), rel=1e-6)
    assert result.mean == pytest.approx(sum(expected) / 4, rel=1e-6)


def test_heads_of_one_engine_alone_are_not_compared() -> None:
    one, other = of_age([10], [0.9]), Detections([face(0, 0, 10)], [0.9], values={"pose": [[3, 0, 0]], "size": [[1]]})
    assert list(agreement([one], [other]).values) == ["pose"]
    assert agreement([one], [detections([face(0, 0, 10)], [0.9])]).values == {}


def test_without_matched_faces_values_have_no_change() -> None:
    for candidate in (of_age([], []), of_age([1], [0.9], shift=500)):
        assert agreement([of_age([1], [0.9])], [candidate]).values == {"age": None, "pose": None}


def test_published_heads_are_reported_as_before() -> None:
    result = agreement([detections([face(0, 0, 9)], [0.9])], [detections([face(0, 0, 9)], [0.9])])
    assert list(result.to_dict()) == [field.name for field in fields(Agreement) if field.name != "values"]


def test_values_of_other_sizes_or_that_are_not_finite_are_refused() -> None:
    one, three = (Detections([face(0, 0, 9)], [0.9], values={"age": np.zeros((1, size))}) for size in (1, 3))
    with pytest.raises(
        InvalidArgumentError, match=r"reference\[0\] has 1 values of 'age' a face and candidate\[0\] 3,"
    ):
        agreement([one], [three])
    assert agreement([one], [three[:0]]).values == {"age": None}
    one.values["age"][0] = np.nan
    with pytest.raises(InvalidArgumentError, match=r"candidate\[0\] holds a box, score, landmark or value that is not"):
        agreement([three], [one])


@pytest.mark.parametrize(("points", "size"), [(1, 144), (4, 1), (5, 1), (68, 144)])
def test_errors_are_those_of_the_faces_that_are_found(rng: np.random.Generator, points: int, size: int) -> None:
    """Rectangles in a row, of which some are not found, ignored, or have no points or values."""
    truth, given, found, left_out = [], [], [], []
    distances: list[float] = []
    differences: list[float] = []
    for _ in range(12):
        count = int(rng.integers(0, 6))
        sides = rng.uniform(10, 30, (count, 2))
        corners = np.stack([60.0 * np.arange(count), rng.uniform(0, 9, count)], 1)
        boxes = np.hstack([corners, corners + sides]).astype(np.float32)
        landmarks, other = (rng.uniform(0, 99, (count, points, 2)).astype(np.float32) for _ in range(2))
        values, theirs = (rng.normal(0, 3, (count, size)).astype(np.float32) for _ in range(2))
        scores, ignored = rng.uniform(0.3, 1, count), rng.random(count) < 0.2
        landmarks[rng.random(count) < 0.3] = np.nan
        values[rng.random(count) < 0.3] = np.nan
        for i in np.flatnonzero((scores >= 0.5) & ~ignored).tolist():
            if not np.isnan(landmarks[i]).any():
                apart = [math.dist(a, b) for a, b in zip(landmarks[i].tolist(), other[i].tolist(), strict=True)]
                distances.append(sum(apart) / points / math.sqrt(float(sides[i].prod())))
            if not np.isnan(values[i]).any():
                pairs = zip(values[i].tolist(), theirs[i].tolist(), strict=True)
                differences.append(sum(abs(a - b) for a, b in pairs) / size)
        order = rng.permutation(count)
        truth.append(boxes)
        given.append(HeadLabels(landmarks, {"code": values}))
        found.append(Detections(boxes[order], scores[order], other[order], values={"code": theirs[order]}))
        left_out.append(ignored)
    errors = head_errors(truth, given, found, ignored=left_out)
    for result, expected in ((errors.landmarks, distances), (errors.values["code"], differences)):
        assert result is not None
        assert result.count == len(expected) > 5
        assert result.mean == pytest.approx(np.mean(expected), rel=1e-5)
        assert [result.median, result.p95] == pytest.approx(np.percentile(expected, [50, 95]).tolist(), rel=1e-5)


def test_a_face_is_compared_with_the_surest_detection_that_finds_it() -> None:
    twice = Detections([face(0, 0, 10), face(1, 0, 10)], [0.6, 0.8], values={"age": [[30], [40]]})
    result = head_errors([np.array([face(0, 0, 10)])], [labels(age=[[45]])], [twice])
    assert result.values["age"] is not None
    assert (result.values["age"].count, result.values["age"].mean) == (1, 5)
    surest = head_errors([np.array([face(0, 0, 10)])], [labels(age=[[45]])], [twice], score_threshold=0.9)
    assert surest == HeadErrors(None, {"age": None})


def test_a_face_with_a_point_or_value_that_is_missing_has_none() -> None:
    boxes, points = [face(0, 0, 10), face(50, 0, 10)], np.zeros((2, 3, 2), np.float32)
    found = Detections(boxes, [0.9, 0.9], points + np.array([[[6, 8]], [[3, 4]]]), values={"pose": np.ones((2, 2))})
    points[0, 1] = np.nan
    result = head_errors([np.array(boxes)], [labels(points, pose=[[math.nan, 9], [4, 0]])], [found])
    assert [result.known[name].count for name in ("landmarks", "pose")] == [1, 1]
    assert result.known["landmarks"].mean == pytest.approx(5 / 10)
    assert result.known["pose"].mean == (3 + 1) / 2


def test_nothing_labelled_and_nothing_found_have_no_errors() -> None:
    boxes = np.array([face(0, 0, 10)], np.float32)
    found = Detections(boxes, [0.9], np.zeros((1, 4, 2)), values={"age": [[3]]})
    none = labels(np.full((1, 4, 2), np.nan, np.float32), age=[[math.nan]])
    for own, faces in ((none, found), (labels(np.zeros((1, 4, 2), np.float32), age=[[3]]), found[:0])):
        result = head_errors([boxes], [own], [faces])
        assert (result.landmarks, result.values, result.known) == (None, {"age": None}, {})
    assert head_errors([boxes], [NOTHING], [found]) == HeadErrors(None, {})
    assert head_errors([], [], []) == HeadErrors(None, {})


def test_labels_that_do_not_fit_the_detections_are_refused() -> None:
    boxes, plain = np.array([face(0, 0, 10)], np.float32), detections([face(0, 0, 10)], [0.9])
    with pytest.raises(InvalidArgumentError, match="labels of 1 images, points and values of 2 and detections of 1,"):
        head_errors([boxes], [NOTHING] * 2, [plain])
    for own, expected in (
        (labels(np.zeros((1, 1, 2), np.float32)), "labels have 1 landmarks a face and the detections 5 a face"),
        (labels(age=[[1]]), "labels have 1 values of 'age' a face and the detections none"),
    ):
        with pytest.raises(InvalidArgumentError, match=expected):
            head_errors([boxes], [own], [plain])
