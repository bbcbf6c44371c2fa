"""Aligned crops: Umeyama's transform, and sampling, exact or with OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def umeyama(points: NDArray[Any], template: NDArray[Any]) -> Matrix:
    """Return the similarity [2, 3] that takes points [5, 2] nearest to a template: the paper's equations 40 to 43."""
    x, y = points.astype(np.float64), template.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    variance = ((x - mean_x) ** 2).sum(axis=1).mean()
    covariance = (y - mean_y).T @ (x - mean_x) / len(x)
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / variance
    return np.column_stack([scale * rotation, mean_y - scale * rotation @ mean_x])


def bilinear(image: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int]) -> Matrix:
    """Sample a crop of `size` without rounding: centres of pixels at whole numbers, zeros around the image."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    column, row = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    x, y, _ = np.einsum("ij,jhw->ihw", inverse, np.stack([column, row, np.ones_like(row)]))
    # Far positions are all the same: two pixels from the image everything is 0.
    x, y = np.clip(x, -2, image.shape[1] + 1), np.clip(y, -2, image.shape[0] + 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    padded = np.pad(image.astype(np.float64), ((2, 3), (2, 3), (0, 0)))
    right, below = (x - left)[..., None], (y - top)[..., None]
    rows = [padded[r, left + 2] * (1 - right) + padded[r, left + 3] * right for r in (top + 2, top + 3)]
    return np.asarray(rows[0] * (1 - below) + rows[1] * below)


def opencv(image: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int]) -> Matrix:
    """Sample with OpenCV, which rounds to whole grey levels."""
    crop = cv2.warpAffine(np.ascontiguousarray(image), matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return crop.astype(np.float64)
