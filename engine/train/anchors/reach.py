"""Which faces a config's anchors can reach: those that overlap with one of them enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.config.model import RetinaFaceConfig

Boxes = NDArray[np.floating]
Floats = NDArray[np.float64]


def face_sizes(boxes: Boxes) -> Floats:
    """Return the square roots of the areas of boxes [N, 4], in pixels."""
    sides = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.asarray(np.sqrt(np.prod(sides[:, 2:] - sides[:, :2], axis=1)))


def best_overlaps(config: RetinaFaceConfig, boxes: Boxes, input_size: tuple[int, int]) -> Floats:
    """Return the largest IoU of each box with an anchor, where the box is, float64 [N].

    Of anchors of one shape the one in the nearest cell overlaps most, so only that one is looked at.

    Args:
        config: whose anchors these are.
        boxes: [N, 4], x1 y1 x2 y2 in pixels of the network's input.
        input_size: (height, width) of the network's input.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    best = np.zeros(len(boxes))
    for level in config.levels:
        rows, columns = config.map_size(level, *input_size)
        cell = np.clip(np.floor(centres / level.stride), 0, [columns - 1, rows - 1])
        distance = np.abs((cell + 0.5) * level.stride - centres)
        for anchor in level.anchors:
            common = np.clip((sides + anchor) / 2 - distance, 0, np.minimum(sides, anchor)).prod(axis=1)
            union = sides.prod(axis=1) + np.prod(anchor) - common
            best = np.maximum(best, common / union)
    return best
