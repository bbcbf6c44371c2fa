"""The parts of an image around faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError, OutputError
from engine.faces.checks import is_number
from engine.text import represented
from engine.types import FloatArray, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE
from engine.writing import check_writable, write_file

_LARGEST_MARGIN = 1000


def crop_boxes(image: Image, boxes: FloatArray, margin: float, *, square: bool, pad: bool) -> list[Image]:
    """Return a copy of the pixels in each box and in a margin around it; see Detections.crops.

    Args:
        image: uint8 [H, W, 3].
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the image.
        margin: on each side, as a fraction of the box's width and height.
        square: whether to extend the shorter sides.
        pad: whether to fill what is beyond the image with 0.
    """
    if not is_number(margin) or not 0 <= margin <= _LARGEST_MARGIN:
        raise InvalidArgumentError(
            f"margin is {represented(margin)}, expected a fraction of the box, 0 to {_LARGEST_MARGIN}"
        )
    crops = []
    for index, box in enumerate(boxes.astype(np.float64)):
        if not np.isfinite(box).all():
            raise InvalidArgumentError(f"the box of face {index} is {box.tolist()}, expected finite numbers")
        crops.append((_padded if pad else _clipped)(image, *_extent(box, float(margin), square)))
    return crops


def write_crops(crops: Sequence[Image], folder: Path, name: str) -> list[Path]:
    """Write BGR images to a folder as PNG: NAME_0.png and so on; return their paths."""
    if not name or set(name) & {"/", "\0"}:
        raise InvalidArgumentError(f"name is {represented(name)}, expected a file's name without its folder")
    try:
        check_writable(folder)
    except OSError as error:
        raise OutputError.at(folder, error) from error
    paths = [folder / f"{name}_{index}.png" for index in range(len(crops))]
    for path, crop in zip(paths, crops, strict=True):
        write_file(path, cv2.imencode(".png", crop)[1].tobytes())
    return paths


def _extent(box: NDArray[np.float64], margin: float, square: bool) -> list[int]:
    """Return the left, top, right and bottom edge of a crop in whole pixels."""
    sides = np.maximum(box[2:] - box[:2], 0) * (1 + 2 * margin)
    if square:
        side = math.ceil(sides.max())
        left, top = (math.floor(middle - side / 2 + 0.5) for middle in (box[:2] + box[2:]) / 2)
        return [left, top, left + side, top + side]
    grown = (box[:2] + box[2:] - sides) / 2, (box[:2] + box[2:] + sides) / 2
    return [*map(math.floor, grown[0]), *map(math.ceil, grown[1])]


def _clipped(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    height, width = image.shape[:2]
    left, top = (min(max(first, 0), side - 1) for first, side in ((left, width), (top, height)))
    return image[top : max(bottom, top + 1), left : max(right, left + 1)].copy()


def _padded(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if max(right - left, bottom - top) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(
            f"a crop with its padding has {bottom - top} x {right - left} pixels (height x width), expected at most "
            f"{MAX_IMAGE_SIDE} each: without pad it ends where the image does"
        )
    padded = np.zeros((bottom - top, right - left, image.shape[2]), np.uint8)
    height, width = image.shape[:2]
    if left < width and top < height and right > 0 and bottom > 0:
        part = image[max(top, 0) : bottom, max(left, 0) : right]
        row, column = max(-top, 0), max(-left, 0)
        padded[row : row + part.shape[0], column : column + part.shape[1]] = part
    return padded
