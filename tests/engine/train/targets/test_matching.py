"""Anchors and their faces, against loops in NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.train.targets import matching
from engine.train.targets.anchors import anchors_of
from engine.train.targets.matching import BACKGROUND, IGNORED, match
from tests.engine.train.targets.cases import PLAIN, batch_of, random_image
from tests.support.oracles import training

# Four anchors of 16 pixels in a row, without overlap.
ROW = torch.tensor([[8.0 + 16 * i, 8.0, 16.0, 16.0] for i in range(4)])


def matched(boxes: list[list[float]], ignored: list[bool] | None = None, anchors: torch.Tensor = ROW) -> list[int]:
    """Match with the thresholds of the paper."""
    mask = torch.tensor(ignored or [False] * len(boxes), dtype=torch.bool)
    faces = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return match(anchors, faces, above=0.5, below=0.3, ignored=mask).tolist()


@pytest.mark.parametrize("least", [0.0, 0.2])
@pytest.mark.parametrize("thresholds", [(0.5, 0.3), (0.7, 0.3), (0.35, 0.35)])
def test_random_faces_equal_loops(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, thresholds: tuple[float, float], least: float
) -> None:
    monkeypatch.setattr(matching, "_ELEMENTS", 400)  # a few faces at a time
    anchors = anchors_of(PLAIN, 64, 32)
    for count in (0, 1, 5, 12):
        image = random_image(rng, count, 48)
        if count > 4:
            image.boxes[3:5] = 0, 0, 32, 36  # two faces in one place, over several anchors, not looked at together
            image.ignored[3:5] = False
            image.boxes[1, 2] = image.boxes[1, 0]  # a face without width
        batch = batch_of([image])
        above, below = thresholds
        got = match(anchors, batch.boxes[0], above=above, below=below, ignored=batch.ignored[0], least=least)
        expected = training.match(anchors.double().numpy(), image, training.Rules(above, below, least))
        assert got.dtype == torch.int64
        assert got.tolist() == expected


def test_thresholds_are_inclusive_above_and_exclusive_below() -> None:
    """The first anchor is the face's best one; the others overlap it by 1/2, 3/10 and 2/10."""
    anchors = torch.tensor([[5.0, 5, 10, 10], [5, 2.5, 10, 5], [5, 1.5, 10, 3], [5, 1, 10, 2]])
    assert matched([[0, 0, 10, 10]], anchors=anchors) == [0, 0, IGNORED, BACKGROUND]


def test_a_face_that_overlaps_little_has_its_best_anchor() -> None:
    assert matched([[18, 2, 22, 6]]) == [BACKGROUND, 0, BACKGROUND, BACKGROUND]


def test_a_face_that_meets_no_anchor_has_none() -> None:
    assert matched([[100, 100, 120, 120]]) == [BACKGROUND] * 4


def test_two_faces_that_want_one_anchor_both_get_one() -> None:
    """The better one keeps it, the other takes its best among the free ones."""
    assert matched([[3, 0, 18, 16], [1, 0, 17, 16]]) == [1, 0, BACKGROUND, BACKGROUND]


def test_equal_faces_take_the_first_anchors_in_their_order() -> None:
    same = [8.0, 0, 24, 16]  # half over the first anchor, half over the second
    assert matched([same, same]) == [0, 1, BACKGROUND, BACKGROUND]
    # The third has no anchor left that it overlaps.
    assert matched([same, same, same]) == [0, 1, BACKGROUND, BACKGROUND]


def test_equal_wishes_of_faces_that_got_none_go_to_the_first() -> None:
    """Faces 0 and 1 lose the third and the first anchor to better ones; both overlap the second by as much."""
    assert matched([[28, 0, 44, 16], [4, 0, 20, 16], [0, 0, 16, 16], [32, 0, 48, 16]]) == [2, 0, 3, BACKGROUND]


def test_ignored_faces_ignore_the_anchors_over_them() -> None:
    crowd = [0.0, 0, 40, 64]  # holds two anchors and half of the third
    assert matched([crowd], [True]) == [IGNORED, IGNORED, IGNORED, BACKGROUND]
    assert matched([[2, 2, 5, 5]], [True]) == [IGNORED, BACKGROUND, BACKGROUND, BACKGROUND]  # its best anchor
    assert matched([crowd, [16, 0, 32, 16]], [True, False]) == [IGNORED, 1, IGNORED, BACKGROUND]


@pytest.mark.parametrize(
    "box", [[4, 4, 4, 9], [9, 4, 2, 9], [np.nan, 0, 16, 16], [0, 0, np.inf, 16], [-1e30, -1e30, 1e30, 1e30]]
)
@pytest.mark.parametrize("ignored", [False, True])
def test_boxes_without_area_or_number_are_no_faces(box: list[float], ignored: bool) -> None:
    assert matched([box], [ignored]) == [BACKGROUND] * 4


def test_anchors_that_are_not_finite_meet_nothing() -> None:
    """A first stage that went astray gives such anchors."""
    broken = torch.tensor([[np.nan, 8, 16, 16], [8, 8, np.inf, 16], [8, 8, 0, 16], [8, 8, 1e30, 1e30], [8, 8, 16, 16]])
    assert matched([[0, 0, 16, 16]], anchors=broken) == [BACKGROUND] * 4 + [0]
