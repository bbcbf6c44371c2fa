"""The usual pipeline around a RetinaFace in PyTorch, written anew: what a user would have without this project.

OpenCV resizes, NumPy normalises, decodes every anchor and suppresses box by box. It imports nothing of this project, so
that it runs in an environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Anchors:
    """Anchors of an input size: strides, and the sides of the squares at each of them; variances of the deltas."""

    strides: tuple[int, ...] = (8, 16, 32)
    sides: tuple[tuple[float, ...], ...] = ((16, 32), (64, 128), (256, 512))
    centre_variance: float = 0.1
    size_variance: float = 0.2

    def grid(self, height: int, width: int) -> Floats:
        """Return centre and size of every anchor as parts of the input, float32 [A, 4]."""
        rows: list[tuple[float, float, float, float]] = []
        for stride, sides in zip(self.strides, self.sides, strict=True):
            for row, column in product(range(-(-height // stride)), range(-(-width // stride))):
                x, y = (column + 0.5) * stride / width, (row + 0.5) * stride / height
                rows += [(x, y, side / width, side / height) for side in sides]
        return np.array(rows, np.float32)


def letterbox(image: NDArray[np.uint8], size: int, mean: tuple[float, float, float]) -> tuple[Floats, float]:
    """Return an image that was resized to fit, centred and normalised, [1, 3, size, size], and the scale."""
    height, width = image.shape[:2]
    scale = min(size / height, size / width)
    resized = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    top, left = (size - resized.shape[0]) // 2, (size - resized.shape[1]) // 2
    padded: Floats = np.full((size, size, 3), mean, np.float32)
    padded[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    padded -= np.array(mean, np.float32)
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), scale


def decode(anchors: Floats, deltas: Floats, points: Floats, variances: Anchors) -> tuple[Floats, Floats]:
    """Return the boxes [A, 4] and landmarks [A, 10] of all anchors, as parts of the input."""
    centres, sizes = anchors[:, :2], anchors[:, 2:]
    middle = centres + deltas[:, :2] * variances.centre_variance * sizes
    half = sizes * np.exp(deltas[:, 2:] * variances.size_variance) / 2
    moved = centres[:, None] + points.reshape(-1, 5, 2) * variances.centre_variance * sizes[:, None]
    return np.concatenate([middle - half, middle + half], axis=1), moved.reshape(-1, 10)


def suppress(boxes: Floats, iou_threshold: float) -> list[int]:
    """Return which boxes, in the order of their scores, stay."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        left = rest[common / (areas[best] + areas[rest] - common) <= iou_threshold]
    return kept


def postprocess(
    deltas: Floats,
    scores: Floats,
    points: Floats,
    anchors: Floats,
    size: tuple[int, int],
    *,
    score_threshold: float,
    iou_threshold: float = 0.4,
    top_k: int = 5000,
    max_detections: int = 750,
    variances: Anchors | None = None,
) -> dict[str, Any]:
    """Return boxes, scores and landmarks of one image in pixels of the input, from all anchors' outputs [A, ...]."""
    boxes, landmarks = decode(anchors, deltas, points, variances or Anchors())
    height, width = size
    boxes = boxes * np.array([width, height] * 2, np.float32)
    landmarks = landmarks * np.array([width, height] * 5, np.float32)
    above = np.where(scores > score_threshold)[0]
    order = above[scores[above].argsort()[::-1][:top_k]]
    kept = order[suppress(boxes[order], iou_threshold)][:max_detections]
    return {"boxes": boxes[kept], "scores": scores[kept], "landmarks": landmarks[kept]}
