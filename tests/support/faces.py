"""Makes boxes and detections for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.faces import Detections


def face(x: float, y: float, size: float) -> list[float]:
    """Return a square box."""
    return [x, y, x + size, y + size]


def detections(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], *, landmarks: bool = True, shift: float = 0.0
) -> Detections:
    """Return detections whose landmarks are all at the box's first corner, moved to the right by `shift` pixels."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    points = np.repeat(corners[:, None, :2], 5, axis=1) + np.array([shift, 0], np.float32)
    return Detections(corners, np.array(scores, np.float32), points if landmarks else None)


def random_detections(rng: np.random.Generator, count: int, extent: float = 100.0) -> Detections:
    """Return random boxes, which overlap more or less, with descending scores."""
    corner, sides = rng.uniform(0, extent, (count, 2)), rng.uniform(10, 60, (count, 2))
    scores = np.sort(rng.uniform(0.02, 1, count).astype(np.float32))[::-1]
    points = rng.uniform(0, extent, (count, 5, 2)).astype(np.float32)
    return Detections(np.hstack([corner, corner + sides]).astype(np.float32), scores, points)


def jittered(rng: np.random.Generator, faces: Detections, amount: float) -> Detections:
    """Return the faces in random order, each box coordinate moved by up to `amount`."""
    order = rng.permutation(len(faces))
    boxes = faces.boxes + rng.uniform(-amount, amount, faces.boxes.shape).astype(np.float32)
    assert faces.landmarks is not None
    return Detections(boxes[order], faces.scores[order], faces.landmarks[order])
