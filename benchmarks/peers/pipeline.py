"""The usual pipeline around a RetinaFace in PyTorch, written for this comparison.

OpenCV resizes; NumPy normalises, decodes every anchor and suppresses box by box. The module imports nothing of this
project, so that it runs in an environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Anchors:
    """The square anchors of a network: strides, the sides in pixels at each stride, and the variances of the deltas."""

    strides: tuple[int, ...] = (8, 16, 32)
    sides: tuple[tuple[float, ...], ...] = ((16, 32), (64, 128), (256, 512))
    centre_variance: float = 0.1
    size_variance: float = 0.2

    def grid(self, height: int, width: int) -> Floats:
        """Return x, y, width, height of every anchor as fractions of the input, float32 [A, 4]."""
        rows: list[tuple[float, float, float, float]] = []
        for stride, sides in zip(self.strides, self.sides, strict=True):
            for row, column in product(range(-(-height // stride)), range(-(-width // stride))):
                x, y = (column + 0.5) * stride / width, (row + 0.5) * stride / height
                rows += [(x, y, side / width, side / height) for side in sides]
        return np.array(rows, np.float32)


def letterbox(image: NDArray[np.uint8], size: int, mean: tuple[float, float, float]) -> tuple[Floats, float]:
    """Resize an image to fit, centre it, subtract the mean; return the batch [1, 3, size, size] and the scale."""
    height, width = image.shape[:2]
    scale = min(size / height, size / width)
    resized = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    top, left = (size - resized.shape[0]) // 2, (size - resized.shape[1]) // 2
    padded: Floats = np.full((size, size, 3), mean, np.float32)
    padded[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    padded -= np.array(mean, np.float32)
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), scale


def suppress(boxes: Floats, iou_threshold: float) -> list[int]:
    """Return the indices of the boxes that stay; boxes come highest score first."""
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


class Outputs(NamedTuple):
    """The network's outputs for one image and all anchors."""

    deltas: Floats  # [A, 4]
    scores: Floats  # [A]
    points: Floats  # [A, 10]


class Faces(NamedTuple):
    """The faces of one image, highest score first, in pixels of the input."""

    boxes: Floats  # [N, 4]
    scores: Floats  # [N]
    landmarks: Floats  # [N, 10]


@dataclass(frozen=True)
class PostProcessing:
    """The steps from the network's outputs to faces, for inputs of one size (height, width)."""

    size: tuple[int, int]
    anchors: Anchors
    score_threshold: float
    iou_threshold: float = 0.4
    top_k: int = 5000
    max_detections: int = 750

    @cached_property
    def grid(self) -> Floats:
        """The anchors of this size; see Anchors.grid()."""
        return self.anchors.grid(*self.size)

    def run(self, outputs: Outputs) -> Faces:
        """Decode all anchors, take those above the threshold, and suppress overlapping boxes."""
        boxes, landmarks = self.decode(outputs.deltas, outputs.points)
        height, width = self.size
        boxes = boxes * np.array([width, height] * 2, np.float32)
        landmarks = landmarks * np.array([width, height] * 5, np.float32)
        above = np.where(outputs.scores > self.score_threshold)[0]
        order = above[outputs.scores[above].argsort()[::-1][: self.top_k]]
        kept = order[suppress(boxes[order], self.iou_threshold)][: self.max_detections]
        return Faces(boxes[kept], outputs.scores[kept], landmarks[kept])

    def decode(self, deltas: Floats, points: Floats) -> tuple[Floats, Floats]:
        """Return the boxes [A, 4] and landmarks [A, 10] of all anchors, as fractions of the input."""
        centre_variance, size_variance = self.anchors.centre_variance, self.anchors.size_variance
        centres, sizes = self.grid[:, :2], self.grid[:, 2:]
        middle = centres + deltas[:, :2] * centre_variance * sizes
        half = sizes * np.exp(deltas[:, 2:] * size_variance) / 2
        moved = centres[:, None] + points.reshape(-1, 5, 2) * centre_variance * sizes[:, None]
        return np.concatenate([middle - half, middle + half], axis=1), moved.reshape(-1, 10)
