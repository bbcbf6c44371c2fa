"""Greedy non-maximum suppression of one image, with a plain loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support.oracles.boxes import iou

Floats = NDArray[np.float64]


class Kept(NamedTuple):
    """The detections of one image, highest score first."""

    indices: list[int]
    boxes: Floats  # [n, 4]
    scores: Floats  # [n]


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    count: int,
    iou_threshold: float,
    max_detections: int,
    voting: bool = False,
    classes: NDArray[np.int32] | None = None,
) -> Kept:
    """Keep the best box, drop those that overlap it by more than the threshold, and repeat with the rest.

    With `classes`, only boxes of the same class overlap.
    With `voting`, a kept box is the mean of itself and the boxes it drops, weighted by score.
    """
    wide = boxes.astype(np.float64)
    valid = [i for i in range(count) if np.isfinite(scores[i]) and np.isfinite(boxes[i]).all()]
    alive = np.array(sorted(valid, key=lambda i: (-float(scores[i]), i)), dtype=int)
    indices: list[int] = []
    kept: list[Floats] = []
    while len(alive) > 0 and len(indices) < max_detections:
        best, rest = int(alive[0]), alive[1:]
        overlaps = iou(wide[best], wide[rest]) > iou_threshold
        if classes is not None:
            overlaps &= classes[rest] == classes[best]
        dropped, alive = rest[overlaps], rest[~overlaps]
        indices.append(best)
        members = [best, *dropped] if voting else [best]
        weights = scores[members].astype(np.float64)
        kept.append(np.average(wide[members], axis=0, weights=weights) if weights.sum() > 0 else wide[best])
    return Kept(indices, np.array(kept).reshape(-1, 4), scores[indices].astype(np.float64))
