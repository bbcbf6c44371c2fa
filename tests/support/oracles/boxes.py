"""Intersection over union of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return the intersection over union of boxes [..., 4], x1 y1 x2 y2, with broadcasting; sides without +1."""

    def area(boxes: NDArray[Any]) -> NDArray[np.float64]:
        sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0).astype(np.float64)
        return np.asarray(sides[..., 0] * sides[..., 1])

    corners = [np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])]
    intersection = area(np.concatenate(corners, axis=-1))
    union = area(a) + area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
