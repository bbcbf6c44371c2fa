"""Classes of matched faces, against one face at a time."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.classes import ClassTable, class_table

NAMES = ("a", "b", "c")


def box(column: int, shift: float = 0.0) -> list[float]:
    """A box of 10 pixels in a column of its own; moved by 5 it overlaps by a third."""
    return [20.0 * column + shift, 0, 20.0 * column + shift + 10, 10]


def detections(*faces: tuple[int, float, float, int]) -> Detections:
    """Faces of a column, shift, score and class."""
    boxes = [box(column, shift) for column, shift, _, _ in faces]
    scores, classes = [face[2] for face in faces], [face[3] for face in faces]
    return Detections(boxes, scores, classes=classes, class_names=NAMES)


def truth(*columns: int) -> np.ndarray:
    """Labelled faces."""
    return np.array([box(column) for column in columns], np.float32).reshape(-1, 4)


def test_each_labelled_face_is_counted_once() -> None:
    found = detections(
        (0, 1, 0.9, 1),  # right
        (0, 0, 0.8, 2),  # the same face again: the one of the higher score was taken
        (1, 2, 0.7, 3),  # wrong
        (2, 5, 0.9, 2),  # overlaps too little
        (3, 0, 0.4, 1),  # too low a score
        (4, 0, 0.9, 2),  # ignored
        (9, 0, 0.9, 2),  # no such face
    )
    labels, ignored = np.array([1, 1, 2, 1, 2]), np.array([False, False, False, False, True])
    table = class_table([truth(0, 1, 2, 3, 4)], [labels], [found], NAMES, ignored=[ignored])
    assert table == ClassTable(NAMES, ((1, 0, 1), (0, 0, 0), (0, 0, 0)), (1, 1, 0))
    assert table.accuracy == 0.5
    assert table.rows() == [["a", "1", "0", "1", "1"], ["b", "0", "0", "0", "1"], ["c", "0", "0", "0", "0"]]
    lower = class_table([truth(0, 1, 2, 3, 4)], [labels], [found], NAMES, score_threshold=0.4)
    assert lower.found == ((2, 0, 1), (0, 1, 0), (0, 0, 0))


def test_images_are_summed(rng: np.random.Generator) -> None:
    """Every face is found where it is, with a random class."""
    counts, missed = np.zeros((3, 3), int), np.zeros(3, int)
    boxes, labels, found = [], [], []
    for _ in range(20):
        number = int(rng.integers(0, 6))
        own, given, seen = rng.integers(1, 4, number), rng.integers(1, 4, number), rng.random(number) < 0.8
        for a, b, is_seen in zip(own, given, seen, strict=True):
            counts[a - 1, b - 1] += is_seen
            missed[a - 1] += not is_seen
        boxes.append(truth(*range(number)))
        labels.append(own)
        order = rng.permutation(np.flatnonzero(seen))
        found.append(detections(*((int(i), 0.0, float(rng.uniform(0.5, 1)), int(given[i])) for i in order)))
    table = class_table(boxes, labels, found, NAMES)
    assert table.found == tuple(map(tuple, counts))
    assert table.missed == tuple(missed)
    assert table.accuracy == np.trace(counts) / counts.sum()


def test_without_faces_there_is_no_accuracy() -> None:
    assert class_table([truth(0)], [np.array([1])], [detections()], NAMES).accuracy is None


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(InvalidArgumentError, match="labels of 1 images, classes of 2 and detections of 1"):
        class_table([truth(0)], [np.array([1])] * 2, [detections()], NAMES)
    with pytest.raises(InvalidArgumentError, match="have no classes: their model has one"):
        class_table([truth(0)], [np.array([1])], [Detections([box(0)], [0.9])], NAMES)
