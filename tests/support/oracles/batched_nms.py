"""Greedy non-maximum suppression of one image, the plainest way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Kept(NamedTuple):
    """The detections of one image, best first."""

    indices: list[int]
    boxes: Floats  # [n, 4]
    scores: Floats  # [n]


def iou(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Intersection over union of boxes [..., 4], x1 y1 x2 y2; sides without +1."""

    def area(boxes: NDArray[Any]) -> Floats:
        sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0).astype(np.float64)
        return np.asarray(sides[..., 0] * sides[..., 1])

    corners = [np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])]
    intersection = area(np.concatenate(corners, axis=-1))
    union = area(a) + area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    count: int,
    iou_threshold: float,
    max_detections: int,
    voting: bool = False,
) -> Kept:
    """Keep the best, drop what overlaps it, go on with the best of the rest."""
    wide = boxes.astype(np.float64)
    valid = [i for i in range(count) if np.isfinite(scores[i]) and np.isfinite(boxes[i]).all()]
    alive = np.array(sorted(valid, key=lambda i: (-float(scores[i]), i)), dtype=int)
    indices: list[int] = []
    kept: list[Floats] = []
    while len(alive) > 0 and len(indices) < max_detections:
        best, rest = int(alive[0]), alive[1:]
        overlaps = iou(wide[best], wide[rest]) > iou_threshold
        dropped, alive = rest[overlaps], rest[~overlaps]
        indices.append(best)
        members = [best, *dropped] if voting else [best]
        weights = scores[members].astype(np.float64)
        kept.append(np.average(wide[members], axis=0, weights=weights) if weights.sum() > 0 else wide[best])
    return Kept(indices, np.array(kept).reshape(-1, 4), scores[indices].astype(np.float64))
