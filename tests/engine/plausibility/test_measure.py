"""How plausible made-up candidates are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.ops import Candidates
from engine.plausibility.measure import plausibility

# Eyes, nose, corners of the mouth, as shares of the box.
FACE = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))


def candidates(boxes: Sequence[Sequence[float]], points: object = FACE, score: float = 0.9) -> Candidates:
    """Return candidates of one picture, all with the same score and the same landmarks in their boxes."""
    corners = np.array(boxes, np.float32)
    sides = corners[:, 2:] - corners[:, :2]
    landmarks = corners[:, None, :2] + np.array(points, np.float32) * sides[:, None]
    scores = np.full((1, len(boxes)), score, np.float32)
    return Candidates(corners[None], scores, landmarks.reshape(1, -1, 10), np.array([len(boxes)], np.int32))


def test_faces_count_once_by_score_and_agreement() -> None:
    # The second is [0, 10, 100, 110]: IoU 90 / 110 with the first; the third is the first.
    found = candidates([[0, 0, 100, 100], [0, 10, 100, 110], [0, 0, 100, 100], [300, 0, 340, 40], [300, 0, 340, 40]])
    judged = plausibility(found)
    assert judged.plausible == 2
    assert judged.total == pytest.approx(0.9 * (90 / 110 + 1) / 2 + 0.9)


def test_a_face_that_one_anchor_sees_is_none() -> None:
    assert plausibility(candidates([[0, 0, 100, 100]])) == (0, 0.0)
    assert plausibility(candidates([[200.0 * i, 0, 200 * i + 50, 50] for i in range(500)])) == (0, 0.0)


def test_boxes_inside_each_other_are_one_face_of_little_agreement() -> None:
    judged = plausibility(candidates([[0, 0, 100, 100], [40, 40, 60, 60]]))
    assert judged.plausible == 0
    assert judged.total == pytest.approx(0.9 * 0.04)


@pytest.mark.parametrize(
    ("changed", "at"),
    [(0, (0.8, 0.35)), (1, (0.7, 0.9)), (3, (0.7, 0.75)), (4, (0.65, 0.2)), (2, (1.2, 0.5)), (0, (np.nan, 0.35))],
    ids=["eyes swapped", "eye below the mouth", "mouth turned", "mouth above the eyes", "nose outside", "no number"],
)
def test_landmarks_out_of_order_are_no_face(changed: int, at: tuple[float, float]) -> None:
    points = list(FACE)
    boxes = [[0.0, 0.0, 100.0, 100.0]] * 2
    assert plausibility(candidates(boxes, points)).plausible == 1
    points[changed] = at
    assert plausibility(candidates(boxes, points)) == (0, 0.0)


def test_without_landmarks_agreement_counts_alone() -> None:
    found = candidates([[0, 0, 100, 100], [0, 0, 100, 100]])._replace(payload=None)
    assert list(plausibility(found)) == [1, pytest.approx(0.9)]


def test_entries_beyond_the_count_and_boxes_without_area_count_nothing() -> None:
    found = candidates([[0, 0, 100, 100], [0, 0, 100, 100]])
    assert plausibility(found._replace(count=np.array([0], np.int32))) == (0, 0.0)
    assert plausibility(candidates([[5, 5, 5, 5], [5, 5, 5, 5]])) == (0, 0.0)
