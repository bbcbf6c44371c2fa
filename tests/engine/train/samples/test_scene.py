"""Pictures and faces that are changed together, and the squares that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engine.config.heads import FIVE_MIRRORED
from engine.train.samples.crops import random_square
from engine.train.samples.scene import Scene, sizes_of


def scene_of(
    boxes: Sequence[Sequence[float]], height: int = 40, width: int = 60, ignored: tuple[int, ...] = ()
) -> Scene:
    """A scene with a picture of noise; every second face has landmarks."""
    rng = np.random.default_rng(5)
    landmarks = rng.uniform(0, height, (len(boxes), 5, 2)).astype(np.float32)
    landmarks[1::2] = np.nan
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    marked = np.isin(np.arange(len(boxes)), ignored)
    return Scene(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        landmarks,
        marked,
        np.arange(1, len(marked) + 1, dtype=np.int32),
        np.arange(2 * len(marked), dtype=np.float32).reshape(-1, 2),
    )


def test_crops_keep_faces_by_their_centres(request: pytest.FixtureRequest) -> None:
    """Against one face at a time, in words."""
    rng = np.random.default_rng(request.config.getoption("--seed"))
    for _ in range(50):
        corners = rng.integers(0, 30, (6, 2))
        boxes = np.concatenate([corners, corners + rng.integers(1, 20, (6, 2))], 1).astype(float).tolist()
        scene = scene_of(boxes, 50, 50, ignored=(2,))
        side = int(rng.integers(5, 40))
        left, top = (int(rng.integers(0, 51 - side)) for _ in "xy")
        expected = []
        for index, (x1, y1, x2, y2) in enumerate(boxes):
            shown = [max(x1 - left, 0), max(y1 - top, 0), min(x2 - left, side), min(y2 - top, side)]
            if shown[0] < shown[2] and shown[1] < shown[3]:
                has_centre = left < (x1 + x2) / 2 < left + side and top < (y1 + y2) / 2 < top + side
                points = scene.landmarks[index] - np.array([left, top], np.float32)
                expected.append((shown, points, index == 2 or not has_centre, index + 1))
        cut = scene.cropped(left, top, side)
        assert np.array_equal(cut.image, scene.image[top : top + side, left : left + side])
        assert cut.boxes.tolist() == [shown for shown, _, _, _ in expected]
        assert np.array_equal(cut.landmarks, np.array([p for _, p, _, _ in expected]).reshape(-1, 5, 2), equal_nan=True)
        assert cut.ignored.tolist() == [ignored for _, _, ignored, _ in expected]
        assert cut.classes.tolist() == [number for _, _, _, number in expected]
        assert cut.values.tolist() == [[2 * number - 2, 2 * number - 1] for _, _, _, number in expected]


def test_squares_that_reach_beyond_the_picture_are_padded() -> None:
    scene = scene_of([[0, 0, 60, 40], [50, 30, 60, 40]])
    for left, top, side in ((-20, -30, 100), (0, -5, 60), (5, -10, 50), (30, 10, 20)):
        canvas = np.full((200, 200, 3), (1, 2, 3), np.uint8)
        canvas[100:140, 100:160] = scene.image
        cut = scene.cropped(left, top, side, (1, 2, 3))
        assert np.array_equal(cut.image, canvas[100 + top : 100 + top + side, 100 + left : 100 + left + side])
        assert scene.holds(left, top, side) == (side == 20)
    assert scene.cropped(-20, -30, 100).boxes.tolist() == [[20, 30, 80, 70], [70, 60, 80, 70]]


def test_what_is_left_stays_left_in_the_mirror() -> None:
    scene = scene_of([[5, 6, 25, 36], [30, 3, 40, 11]])
    mirror = scene.mirrored(FIVE_MIRRORED)
    assert np.array_equal(mirror.image, scene.image[:, ::-1])
    assert mirror.boxes.tolist() == [[35, 6, 55, 36], [20, 3, 30, 11]]
    assert mirror.classes.tolist() == [1, 2]
    for point, other in ((0, 1), (1, 0), (2, 2), (3, 4), (4, 3)):
        x, y = scene.landmarks[0, other].tolist()
        assert mirror.landmarks[0, point].tolist() == [np.float32(60) - np.float32(x), y]
    assert np.isnan(mirror.landmarks[1]).all()
    again = mirror.mirrored(FIVE_MIRRORED)
    assert np.array_equal(again.boxes, scene.boxes)
    assert np.allclose(again.landmarks, scene.landmarks, atol=1e-5, equal_nan=True)  # 60 - (60 - x) is rounded


def test_any_points_change_places_in_the_mirror() -> None:
    scene = replace(scene_of([[5, 6, 25, 36]]), landmarks=np.array([[[1, 2], [3, 4], [5, 6]]], np.float32))
    assert scene.mirrored((2, 1, 0)).landmarks.tolist() == [[[55, 6], [57, 4], [59, 2]]]


def test_padding_and_scaling() -> None:
    given = scene_of([[0, 0, 60, 40], [10, 20, 30, 40]])
    scene = given.padded(80, (1, 2, 3))
    assert scene.image.shape == (80, 80, 3)
    assert np.array_equal(scene.image[:40, :60], given.image)
    assert (scene.image[40:] == (1, 2, 3)).all()
    assert (scene.image[:, 60:] == (1, 2, 3)).all()
    half = scene.resized(40, 3)
    assert half.boxes.tolist() == [[0, 0, 30, 20], [5, 10, 15, 20]]
    assert np.array_equal(half.landmarks[0], scene.landmarks[0] / 2)
    for side in range(1, 200):  # boxes of the whole picture stay inside, whatever rounding does
        assert scene_of([[0, 0, 97, 97]], 97, 97).resized(side, 0).boxes.max() <= side


def test_small_faces_are_ignored() -> None:
    boxes = [(0, 0, 6, 6), (0, 0, 4, 9), (0, 0, 5.9, 6), (0, 0, 20, 20)]
    scene = scene_of(boxes, ignored=(3,))
    assert sizes_of(scene.boxes).tolist() == pytest.approx([6, 6, 35.4**0.5, 20], rel=1e-6)  # float32
    assert scene.without_small(6).ignored.tolist() == [False, False, True, True]


def test_squares_show_a_whole_face(request: pytest.FixtureRequest) -> None:
    rng = np.random.default_rng(request.config.getoption("--seed"))
    scene = scene_of([[10, 5, 20, 17], [40, 1, 60, 39], [1, 1, 3, 3], [30, 30, 35, 35]], ignored=(3,))
    sides, lefts = [], []
    for _ in range(2000):
        square = random_square(scene, 80, 8, rng)
        assert square is not None
        left, top, side = square
        assert min(left, top) >= 0
        assert left + side <= 60
        assert top + side <= 40
        assert 12 <= side <= 40  # .3 of the short side and all of it
        inside = [left <= x1 and top <= y1 and x2 <= left + side and y2 <= top + side for x1, y1, x2, y2 in scene.boxes]
        assert inside[0] or inside[1] or (inside[2] and 2 * 80 / side >= 8)
        sides.append(side)
        lefts.append(left)
    assert sides.count(40) > 400  # more than one in five: they show a face more often than others
    assert len(set(sides)) > 24  # of 29
    assert set(range(11)) <= set(lefts)  # the first face is 10 pixels from the border


def test_wide_squares_hold_the_picture_as_far_as_they_can() -> None:
    rng = np.random.default_rng(1)
    scene = scene_of([[0, 0, 50, 40]])
    squares = [random_square(scene, 80, 8, rng, 3.0) for _ in range(500)]
    lefts, tops, sides = np.array(squares).T
    assert sides.min() >= 50  # a whole face
    assert sides.max() > 117
    assert ((np.minimum(lefts, 60 - sides - lefts) >= np.minimum(60 - sides, 0)) & (lefts <= 10)).all()
    assert ((tops <= 0) & (tops >= 40 - sides)).all()
    assert set(range(-20, 1)) <= set(lefts)
    assert random_square(scene, 80, 50, rng, 1.0) is None
    assert all(
        square[2] * 50 <= 80 * 2000**0.5 for _ in range(99) if (square := random_square(scene, 80, 50, rng, 3.0))
    )


def test_pictures_of_which_no_square_will_do() -> None:
    rng = np.random.default_rng(0)
    assert random_square(scene_of([[0, 0, 50, 40]]), 80, 8, rng) is None  # wider than the short side
    assert random_square(scene_of([[1, 1, 3, 3]]), 80, 20, rng) is None  # would have 13 pixels at most
    assert random_square(scene_of([]), 80, 8, rng) is not None
    assert random_square(scene_of([[0, 0, 50, 40]], ignored=(0,)), 80, 8, rng) is not None
    assert random_square(scene_of([], 1, 3), 80, 8, rng) is not None
