"""Pictures without faces: crops of given pictures, or random textures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import Image


def crop(picture: Image, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return a random crop of a picture, scaled to (height, width), mirrored half the time."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1]) * rng.uniform(0.6, 1.0)
    part = (min(max(round(size[0] * scale), 1), height), min(max(round(size[1] * scale), 1), width))
    top, left = rng.integers(0, height - part[0] + 1), rng.integers(0, width - part[1] + 1)
    cut = picture[top : top + part[0], left : left + part[1]]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    result = np.asarray(cv2.resize(cut, (size[1], size[0]), interpolation=method), np.uint8)
    return np.ascontiguousarray(result[:, ::-1]) if rng.random() < 0.5 else result


def texture(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return a picture (height, width) of a gradient, blurred rectangles and noise at several scales."""
    canvas = _gradient(size, rng)
    _add_rectangles(canvas, rng)
    blur = float(rng.uniform(0.5, 4.0))
    canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), blur), np.float32)
    for grain in (1, 4, 16, 64):
        canvas += _noise(size, grain, rng) * np.float32(rng.uniform(0, 4 + grain / 4))
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    corners = _colours((2, 2), rng)
    return np.asarray(cv2.resize(corners, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _colours(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw muted colours, as in most photographs."""
    grey, tint = rng.uniform(10, 245, (*shape, 1)), rng.uniform(-40, 40, (*shape, 3))
    return np.asarray(grey + tint, np.float32)


def _add_rectangles(canvas: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(5, 25))):
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        h, w = (int(np.exp(rng.uniform(np.log(4), np.log(max(side / 2, 5))))) for side in (height, width))
        canvas[y : y + h, x : x + w] = _colours((1,), rng)


def _noise(size: tuple[int, int], grain: int, rng: np.random.Generator) -> NDArray[np.float32]:
    coarse = (size[0] // grain + 2, size[1] // grain + 2, 3)
    values = rng.standard_normal(coarse, np.float32)
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float32)
