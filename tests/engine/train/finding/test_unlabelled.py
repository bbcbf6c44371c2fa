"""Faces that labels lack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.faces import Detections
from engine.model.retinaface import RetinaFace
from engine.train.finding.unlabelled import AnyClass, as_one_class, ignore_unlabelled
from engine.train.labels.labelled import LabelledPicture
from engine.types import FloatArray
from tests.support.training.runs import TINY


def points(value: float) -> FloatArray:
    """Five landmarks."""
    return np.full((5, 2), value, np.float32)


def picture() -> LabelledPicture:
    """Three faces: without landmarks, with them, and ignored."""
    boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20]], np.float32)
    landmarks = np.stack([points(np.nan), points(7), points(np.nan)])
    return LabelledPicture(Path("a.jpg"), boxes, landmarks, np.array([False, False, True]), np.ones(3, np.int32))


def found() -> Detections:
    """The first two faces, a little beside; a sure and an unsure one that have no label; one that overlaps by .25."""
    boxes = [[1, 1, 21, 21], [41, 1, 61, 21], [0, 60, 20, 105], [50, 60, 70, 80], [12, 0, 32, 20]]
    scores = [0.04, 0.99, 0.9, 0.4, 0.8]
    return Detections(boxes, scores, np.stack([points(i) for i in range(5)]), (100, 100))


def test_sure_faces_without_a_label_are_ignored_inside_the_picture() -> None:
    given = picture()
    (full,) = ignore_unlabelled([given], [found()], 0.5)
    np.testing.assert_array_equal(full.boxes, [*given.boxes, [0, 60, 20, 100], [12, 0, 32, 20]])
    np.testing.assert_array_equal(full.ignored, [False, False, True, True, True])
    np.testing.assert_array_equal(full.landmarks[:3], given.landmarks)
    assert np.isnan(full.landmarks[3:]).all()
    assert len(given.boxes) == 3


@pytest.mark.parametrize("coding", ["softmax", "sigmoid"])
def test_scores_of_several_classes_are_those_of_a_face(coding: str) -> None:
    config = replace(TINY, classes=("a", "b", "c"), class_coding=coding)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network, images = RetinaFace(config).eval(), torch.randn(2, 3, 32, 64) * 50
    with torch.no_grad():
        own, given = network(images), AnyClass(network)(images)
    expected = as_one_class(config).head_shapes(32, 64)
    assert [tuple(head.shape) for head in given] == [(2, *shape) for shape in expected.values()]
    for i in range(0, len(own), 3):
        logits = own[i].unflatten(1, (2, -1))
        score = logits.sigmoid().amax(2) if coding == "sigmoid" else 1 - logits.softmax(2)[:, :, 0]
        torch.testing.assert_close(given[i].unflatten(1, (2, 2)).softmax(2)[:, :, 1], score)
        assert all(torch.equal(a, b) for a, b in zip(own[i + 1 : i + 3], given[i + 1 : i + 3], strict=True))


def test_nothing_is_added_where_nothing_was_found() -> None:
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), None, (100, 100))
    (full,) = ignore_unlabelled([picture()], [nothing], 0.5)
    np.testing.assert_array_equal(full.boxes, picture().boxes)
