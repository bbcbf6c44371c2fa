"""The accuracy of the measured engines."""

from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import pytest

from engine.bench.analysis.accuracy import accuracy
from engine.bench.analysis.points import Engine
from engine.bench.load.workload import Picture
from engine.faces import Detections
from engine.types import Image
from tests.support.faces import detections, face

LEFT, RIGHT = face(10, 10, 20), face(60, 10, 20)


class Finds:
    """A detector that finds the same faces in every picture."""

    def __init__(self, faces: Detections) -> None:
        self.faces, self.floors, self.runtime = faces, list[float | None](), "none"

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        self.floors.append(score_threshold)
        return [self.faces for _ in images]


def pictures(labelled: bool) -> list[Picture]:
    content = cv2.imencode(".png", np.zeros((50, 100, 3), np.uint8))[1].tobytes()
    boxes = np.array([LEFT, RIGHT], np.float32) if labelled else None
    return [Picture(str(i), content, (50, 100), boxes) for i in range(3)]


def test_against_labels() -> None:
    done: list[None] = []
    both, one = Finds(detections([LEFT, RIGHT], [0.9, 0.8])), Finds(detections([LEFT], [0.9]))
    found = accuracy({"both": both, "one": one}, None, pictures(True), floor=0.02, on_picture=lambda: done.append(None))
    assert {name: (entry.labels, entry.average_precision) for name, entry in found.items()} == {
        "both": (6, 1.0),
        "one": (6, pytest.approx(0.5)),
    }
    assert all(entry.agreement is None for entry in found.values())
    assert both.floors == [0.02] * 3 == one.floors
    assert len(done) == 3


def test_against_a_reference() -> None:
    reference = Finds(detections([LEFT, RIGHT], [0.9, 0.8]))
    moved = Finds(detections([face(12, 10, 20)], [0.7]))
    entry = accuracy({"moved": moved}, reference, pictures(False), floor=0.02)["moved"]
    assert (entry.labels, entry.average_precision) == (None, None)
    assert entry.agreement is not None
    assert (entry.agreement.faces, entry.agreement.matched) == (6, 3)
    assert entry.agreement.iou is not None
    assert entry.agreement.iou.mean == pytest.approx(18 / 22)
    assert entry.to_dict() == {**asdict(entry), "agreement": entry.agreement.to_dict()}
    assert "values" not in entry.to_dict()["agreement"]
    assert Engine("a", "b", "cpu", "c", entry).to_dict()["accuracy"] == entry.to_dict()
    assert Engine("a", "b", "cpu", "c").to_dict()["accuracy"] is None
