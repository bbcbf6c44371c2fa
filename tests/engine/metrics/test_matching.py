"""Matching of faces: against exhaustive search, and worked by hand."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections, unchecked
from engine.metrics.matching import assign, box_iou, box_size, match_faces
from tests.support.faces import detections, face, random_detections
from tests.support.oracles.boxes import iou


def best_sum(overlaps: NDArray[np.float64], least: float) -> float:
    """Return the largest sum of any pairing, by exhaustive search."""
    rows, columns = overlaps.shape
    if rows > columns:
        return best_sum(overlaps.T, least)
    counted = np.where(overlaps >= least, overlaps, 0.0)
    return max(float(sum(counted[r, c] for r, c in enumerate(chosen))) for chosen in permutations(range(columns), rows))


def test_iou_of_every_pair(rng: np.random.Generator) -> None:
    a, b = random_detections(rng, 7).boxes, random_detections(rng, 4).boxes
    expected = [[iou(x.astype(float), y.astype(float)) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(a, b), expected, rtol=1e-12)
    assert box_iou(a, np.zeros((0, 4))).shape == (7, 0)
    empty = np.array([[5.0, 5.0, 5.0, 9.0], [9.0, 9.0, 2.0, 2.0]])
    assert (box_iou(empty, empty) == 0).all()


def test_size_is_the_root_of_the_area() -> None:
    assert box_size(np.array([[1.0, 2.0, 5.0, 11.0], [3.0, 3.0, 2.0, 2.0]])).tolist() == [6.0, 0.0]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (6, 6), (0, 3)])
@pytest.mark.parametrize("least", [0.1, 0.5])
def test_no_pairing_has_a_larger_sum(rng: np.random.Generator, shape: tuple[int, int], least: float) -> None:
    for _ in range(20):
        overlaps = rng.uniform(0, 1, shape)
        rows, columns = assign(overlaps, least)
        assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))
        assert (overlaps[rows, columns] >= least).all()
        assert overlaps[rows, columns].sum() == pytest.approx(best_sum(overlaps, least) if min(shape) else 0.0)


def test_the_best_pair_gives_way_where_two_pairs_are_better() -> None:
    # Greedily, row 0 takes column 0 (0.9) and row 1 has nothing left.
    rows, columns = assign(np.array([[0.9, 0.8], [0.7, 0.0]]), 0.5)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_a_pair_at_the_least_overlap_counts() -> None:
    half = detections([[0, 0, 10, 5]], [0.9])
    assert match_faces([detections([face(0, 0, 10)], [0.9])], [half]).iou.tolist() == [0.5]
    assert len(match_faces([detections([face(0, 0, 10)], [0.9])], [half], match_iou=0.51).iou) == 0


def test_measures_of_a_matched_face() -> None:
    empty = detections([], [])
    reference = [empty, detections([face(100, 0, 20), face(0, 0, 10), face(50, 0, 10)], [0.9, 0.8, 0.4], shift=0)]
    candidate = [empty, detections([[0, 0, 10, 8], face(101, 0, 20)], [0.95, 0.03], shift=3)]
    matched = match_faces(reference, candidate)
    assert matched.image.tolist() == [1, 1]
    assert matched.reference.tolist() == [0, 1]
    assert matched.candidate.tolist() == [1, 0]
    np.testing.assert_allclose(matched.iou, [19 / 21, 0.8])
    np.testing.assert_allclose(matched.score_change, [-0.87, 0.15], atol=1e-7)
    # Landmarks at the corners: 1 + 3 pixels apart over a size of 20, 3 over 10.
    np.testing.assert_allclose(matched.landmark_error, [0.2, 0.3])


def test_without_landmarks_there_is_no_landmark_error() -> None:
    with_, without = (detections([face(0, 0, 9)], [0.9], landmarks=flag) for flag in (True, False))
    assert np.isnan(match_faces([with_], [without]).landmark_error).all()
    assert np.isnan(match_faces([without], [with_]).landmark_error).all()


@pytest.mark.parametrize("points", [1, 68, 128])
def test_the_landmark_error_is_of_all_points(rng: np.random.Generator, points: int) -> None:
    box = [face(10, 10, 40)]
    ours, theirs = (rng.uniform(0, 50, (1, points, 2)).astype(np.float32) for _ in range(2))
    matched = match_faces([Detections(box, [0.9], ours)], [Detections(box, [0.8], theirs)])
    apart = [math.dist(p, q) for p, q in zip(ours[0].tolist(), theirs[0].tolist(), strict=True)]
    np.testing.assert_allclose(matched.landmark_error, [sum(apart) / points / 40], rtol=1e-6)


@pytest.mark.parametrize("others", [1, 68])  # one would broadcast
def test_faces_of_another_number_of_points_are_refused(others: int) -> None:
    five, other = (Detections([face(0, 0, 9)], [0.9], np.zeros((1, count, 2))) for count in (5, others))
    with pytest.raises(
        InvalidArgumentError, match=rf"reference\[1\] has 5 landmarks a face and candidate\[1\] {others},"
    ):
        match_faces([five, five], [five, other])
    assert not len(match_faces([five], [other[:0]]).iou)


@pytest.mark.parametrize("field", ["boxes", "scores", "landmarks"])
@pytest.mark.parametrize("side", ["reference", "candidate"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(field: str, side: str, value: float) -> None:
    good = detections([face(0, 0, 9)], [0.9])
    parts = {name: getattr(good, name).copy() for name in ("boxes", "scores", "landmarks")}
    parts[field].flat[0] = value
    sides = {"reference": [good, good], "candidate": [good, good], side: [good, unchecked(**parts)]}
    with pytest.raises(InvalidArgumentError, match=rf"{side}\[1\] holds"):
        match_faces(sides["reference"], sides["candidate"])


def test_lists_of_other_images_are_refused() -> None:
    one = detections([], [])
    with pytest.raises(InvalidArgumentError, match="reference has 2 images and candidate 1"):
        match_faces([one, one], [one])
    with pytest.raises(InvalidArgumentError, match="no images"):
        match_faces([], [])
