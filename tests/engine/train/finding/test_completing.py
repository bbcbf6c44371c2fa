"""Labels completed with what the first weights find."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.faces import Detections
from engine.train.finding.completing import complete
from engine.train.labels.labelled import LabelledPicture
from engine.types import FloatArray


def points(value: float) -> FloatArray:
    """Five landmarks."""
    return np.full((5, 2), value, np.float32)


def picture() -> LabelledPicture:
    """Three faces: without landmarks, with them, and ignored."""
    boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20]], np.float32)
    landmarks = np.stack([points(np.nan), points(7), points(np.nan)])
    return LabelledPicture(Path("a.jpg"), boxes, landmarks, np.array([False, False, True]))


def found() -> Detections:
    """The first two faces, a little beside; a sure and an unsure one that have no label; one that overlaps by .25."""
    boxes = [[1, 1, 21, 21], [41, 1, 61, 21], [0, 60, 20, 105], [50, 60, 70, 80], [12, 0, 32, 20]]
    scores = [0.04, 0.99, 0.9, 0.4, 0.8]
    return Detections(boxes, scores, np.stack([points(i) for i in range(5)]), (100, 100))


def test_only_faces_without_landmarks_get_those_that_were_found() -> None:
    given = picture()
    completed = complete([given], [found()], landmarks=True, ignore_from=0)
    (full,) = completed.pictures
    np.testing.assert_array_equal(full.landmarks, [points(0), points(7), points(np.nan)])
    np.testing.assert_array_equal(full.boxes, given.boxes)
    assert (completed.landmarks, completed.without, completed.ignored) == (1, 0, 0)
    assert np.isnan(given.landmarks[0]).all()
    assert completed.line().endswith("1 faces got landmarks, 0 have none; 0 faces without a label are ignored")


def test_a_face_that_was_not_found_has_no_landmarks() -> None:
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)), (100, 100))
    completed = complete([picture()], [nothing], landmarks=True, ignore_from=0.5)
    np.testing.assert_array_equal(completed.pictures[0].landmarks, picture().landmarks)
    assert (completed.landmarks, completed.without, completed.ignored) == (0, 1, 0)


def test_sure_faces_without_a_label_are_ignored_inside_the_picture() -> None:
    completed = complete([picture()], [found()], landmarks=False, ignore_from=0.5)
    (full,) = completed.pictures
    np.testing.assert_array_equal(full.boxes, [*picture().boxes, [0, 60, 20, 100], [12, 0, 32, 20]])
    np.testing.assert_array_equal(full.ignored, [False, False, True, True, True])
    np.testing.assert_array_equal(full.landmarks[:3], picture().landmarks)
    assert np.isnan(full.landmarks[3:]).all()
    assert completed.ignored == 2


def test_a_network_without_landmarks_gives_none() -> None:
    boxes = found()
    bare = Detections(boxes.boxes, boxes.scores, None, (100, 100))
    (full,) = complete([picture()], [bare], landmarks=True, ignore_from=0.5).pictures
    np.testing.assert_array_equal(full.landmarks[:3], picture().landmarks)
