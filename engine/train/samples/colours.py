"""Random changes of a picture's colours, as in SSD (arXiv 1512.02325) and the reference of RetinaFace."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import Image

_BRIGHTNESS = 32.0
_CONTRAST = _SATURATION = (0.5, 1.5)
_HUE = 18  # of 180
_LEVELS = np.arange(256, dtype=np.float64)


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """Return a BGR picture with another brightness, contrast, saturation and hue, each changed half the time.

    Contrast comes before saturation and hue, or after them, half the time each.
    """
    brightness = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS) if _coin(rng) else 0.0
    contrast = rng.uniform(*_CONTRAST) if _coin(rng) else 1.0
    saturation = rng.uniform(*_SATURATION) if _coin(rng) else 1.0
    hue = int(rng.integers(-_HUE, _HUE + 1)) if _coin(rng) else 0
    first = _coin(rng)
    image = _brighter(image, brightness, contrast if first else 1.0)
    if saturation != 1 or hue:
        image = _recoloured(image, saturation, hue)
    return image if first else _brighter(image, 0.0, contrast)


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.5)


def _brighter(image: Image, brightness: float, contrast: float) -> Image:
    if brightness == 0 and contrast == 1:
        return image
    levels = _rounded(np.clip(_LEVELS + brightness, 0, 255) * contrast)
    return np.asarray(cv2.LUT(image, levels), np.uint8)


def _recoloured(image: Image, saturation: float, hue: int) -> Image:
    levels = np.stack([_rounded((_LEVELS + hue) % 180), _rounded(_LEVELS * saturation), _rounded(_LEVELS)], 1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), levels[:, None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)


def _rounded(levels: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Image:
    return np.asarray(np.rint(np.clip(levels, 0, 255)), np.uint8)
