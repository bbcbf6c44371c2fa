"""The parts of an image around faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engine.errors import InvalidArgumentError, OutputError
from engine.faces.checks import is_number
from engine.text import represented
from engine.types import FloatArray, Image
from engine.writing import check_writable, write_file


def crop_boxes(image: Image, boxes: FloatArray, margin: float) -> list[Image]:
    """Return a copy of the pixels in each box and in a margin around it.

    Args:
        image: uint8 [H, W, 3].
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the image.
        margin: on each side, as a fraction of the box's width and height.

    Returns:
        uint8 [h, w, 3] for each box: the pixels that it touches. Where it leaves the image the crop ends, but has at
        least one pixel, the nearest.
    """
    if not is_number(margin) or not 0 <= margin < math.inf:
        raise InvalidArgumentError(f"margin is {represented(margin)}, expected a fraction of the box from 0")
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2).astype(np.float64)
    grown = boxes + sides * float(margin) * np.array([-1, -1, 1, 1])
    height, width = image.shape[:2]
    first = np.clip(np.floor(grown[:, :2]), 0, [width - 1, height - 1]).astype(int)
    behind = np.clip(np.ceil(grown[:, 2:]), first + 1, [width, height]).astype(int)
    return [
        image[top:bottom, left:right].copy()
        for (left, top), (right, bottom) in zip(first.tolist(), behind.tolist(), strict=True)
    ]


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
