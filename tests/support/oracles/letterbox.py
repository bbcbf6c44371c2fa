"""Letterboxing of one image, with an exact bilinear resize or with OpenCV's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def placement(
    height: int, width: int, size: tuple[int, int], enlarge: bool = True
) -> tuple[float, tuple[int, int], tuple[int, int]]:
    """Return the scale, resized (height, width) and padding (left, top) of an image letterboxed to `size`."""
    scale = min(size[0] / height, size[1] / width)
    if not enlarge:
        scale = min(scale, 1.0)
    resized = tuple(max(1, int(np.floor(side * scale + 0.5))) for side in (height, width))
    return scale, (resized[0], resized[1]), ((size[1] - resized[1]) // 2, (size[0] - resized[0]) // 2)


def unletterbox(
    points: NDArray[Any], image_size: tuple[int, int], size: tuple[int, int], enlarge: bool = True
) -> NDArray[np.float64]:
    """Convert pairs x, y [..., 2 n] from pixels of the letterboxed image to pixels of the image."""
    _, (height, width), pad = placement(*image_size, size, enlarge)
    pairs = points.astype(np.float64).reshape(-1, 2)
    return np.asarray((pairs - pad) * (image_size[1] / width, image_size[0] / height)).reshape(points.shape)


def bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """Resize without rounding: pixel centres at half integers, edge pixels repeated."""

    def taps(in_size: int, out_size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        position = np.clip((np.arange(out_size) + 0.5) * in_size / out_size - 0.5, 0, in_size - 1)
        low = np.floor(position).astype(np.intp)
        return low, np.minimum(low + 1, in_size - 1), position - low

    (top, bottom, weight_y), (left, right, weight_x) = taps(image.shape[0], height), taps(image.shape[1], width)
    weight_x, weight_y = weight_x[None, :, None], weight_y[:, None, None]
    rows = image[top] * (1 - weight_y) + image[bottom] * weight_y
    return np.asarray(rows[:, left] * (1 - weight_x) + rows[:, right] * weight_x)


def opencv(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """Resize with OpenCV, which rounds to whole grey levels."""
    resized = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.float64)


def letterbox(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    pad_value: Any,
    swap_rb: bool,
    resize: Callable[[NDArray[np.uint8], int, int], NDArray[np.float64]],
    enlarge: bool = True,
) -> NDArray[np.float64]:
    """Return the letterboxed image, [3, height, width], in grey levels before normalisation."""
    _, (height, width), (left, top) = placement(image.shape[0], image.shape[1], size, enlarge)
    resized = resize(image, height, width)
    result = np.empty((*size, 3))
    result[:] = pad_value
    result[top : top + height, left : left + width] = resized[..., ::-1] if swap_rb else resized
    return result.transpose(2, 0, 1)
