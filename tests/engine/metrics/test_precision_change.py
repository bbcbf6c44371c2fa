"""The change of average precision and its interval, against pictures that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest

from engine.metrics.average_precision import SIZE_BINS, average_precision, average_precision_by_size, rank
from engine.metrics.precision_change import PrecisionChange, precision_changes
from tests.support.faces import detections, face, jittered, random_detections

NOTHING = np.zeros((0, 4))


def test_a_picture_that_counts_twice_is_a_picture_that_is_there_twice(rng: np.random.Generator) -> None:
    found = [random_detections(rng, 6) for _ in range(5)]
    truth = [jittered(rng, one, 8.0).boxes[:4] for one in found]
    for sizes in (None, (16.0, 40.0)):
        ranked = rank(truth, found, sizes=sizes)
        for times in (np.array([1, 1, 1, 1, 1]), np.array([0, 3, 1, 0, 1]), rng.integers(0, 4, 5)):
            repeated = np.repeat(np.arange(5), times)
            wanted = average_precision([truth[i] for i in repeated], [found[i] for i in repeated], sizes=sizes)
            assert ranked.area(times) == pytest.approx(wanted, abs=1e-12)
        assert ranked.area(np.zeros(5, np.int64)) is None


def test_the_interval_of_a_change(rng: np.random.Generator) -> None:
    """Half of the pictures lose their face: a mean of -1/2 with a standard deviation of 1/2 over the root of 40."""
    truth = [np.array([face(10, 10, 40)])] * 40
    there, gone = detections([face(10, 10, 40)], [0.9]), detections([], [])
    change, by_size = precision_changes(truth, [there] * 40, [there, gone] * 20)
    assert change is not None
    assert change.mean == pytest.approx(-0.5)
    assert (change.low, change.high) == pytest.approx(
        (-0.5 - 1.96 * 0.5 / 40**0.5, -0.5 + 1.96 * 0.5 / 40**0.5), abs=0.04
    )
    assert by_size == tuple(change if low == 32.0 else None for low, _ in SIZE_BINS)


def test_pictures_that_are_hard_for_both_do_not_widen_the_interval() -> None:
    truth = [np.array([face(10, 10, 40)])] * 30
    found = [detections([face(10, 10, 40)], [0.9]), detections([], []), detections([], [])] * 10
    assert precision_changes(truth, found, found)[0] == PrecisionChange(0.0, 0.0, 0.0)


def test_changes_are_those_of_the_precisions(rng: np.random.Generator) -> None:
    found = [random_detections(rng, 9, extent=300.0) for _ in range(4)]
    truth = [one.boxes for one in found]
    other = [jittered(rng, one, 12.0) for one in found]
    change, by_size = precision_changes(truth, found, other)
    before, after = (average_precision(truth, faces) for faces in (found, other))
    assert change is not None
    assert before is not None
    assert after is not None
    assert change.mean == pytest.approx(after - before)
    assert change.low < change.mean < change.high
    pairs = zip(average_precision_by_size(truth, found), average_precision_by_size(truth, other), by_size, strict=True)
    for ours, theirs, given in pairs:
        if given is None:
            assert ours.average_precision is None
        else:
            assert given.mean == pytest.approx((theirs.average_precision or 0.0) - (ours.average_precision or 0.0))


def test_without_labels_there_is_no_change() -> None:
    faces = [detections([face(0, 0, 10)], [0.9])]
    assert precision_changes([NOTHING], faces, faces) == (None, (None,) * len(SIZE_BINS))
