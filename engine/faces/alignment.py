"""Faces turned upright by their landmarks, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.types import FloatArray, Image

Size = int | tuple[int, int]
Template = str | Sequence[Sequence[float]] | NDArray[Any]

# ArcFace's landmarks in 112 x 112 pixels: arcface_src, later arcface_dst, of insightface
# (python-package/insightface/utils/face_align.py). The crop of 112 x 96 of SphereFace and of ArcFace's first release
# leaves out 8 pixels at the left and at the right.
_ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def align_images(
    images: Sequence[Image],
    landmarks: Mapping[str, FloatArray | None],
    size: Size,
    template: Template,
    threads: int = 0,
    stream: object = None,
) -> Any:
    """Cut out the faces of images; see engine.align.

    Args:
        images: uint8 [H, W, 3], contiguous.
        landmarks: float32 [N, 5, 2] of the faces of each image, under the name of these faces for messages.
        size: of a crop.
        template: see engine.align.
        threads: see engine.align.
        stream: see engine.align.
    """
    from engine import ops  # Detections are made where the compiled module is missing, too

    points = [_checked(given, name) for name, given in landmarks.items()]
    indices = np.repeat(np.arange(len(points), dtype=np.int32), [len(each) for each in points])
    height, width = _sides(size)
    wanted = _template(template, height, width) if isinstance(template, str) else template
    together = np.concatenate([np.zeros((0, 10), np.float32), *points])
    return ops.align(
        images, together, indices, template=wanted, size=(height, width), threads=threads, stream=stream
    ).crops


def _checked(landmarks: FloatArray | None, name: str) -> FloatArray:
    """Return landmarks [N, 10] that can be aligned."""
    if landmarks is None:
        raise InvalidArgumentError(
            f"{name} has no landmarks, because its model has no landmark heads: crop() needs none, or use another model"
        )
    points = np.ascontiguousarray(landmarks, np.float32)
    if points.shape[1] != 5:
        raise InvalidArgumentError(f"{name} has {points.shape[1]} landmarks a face, expected five, those of a template")
    finite = np.isfinite(points).all(axis=(1, 2))
    coincide = (points == points[:, :1]).all(axis=(1, 2))
    for bad, reason in ((~finite, "are not finite"), (coincide, "coincide")):
        if bad.any():
            raise InvalidArgumentError(
                f"the landmarks of face {np.flatnonzero(bad)[0]} of {name} {reason}, expected five different points"
            )
    return points.reshape(-1, 10)


def _sides(size: Any) -> tuple[Any, Any]:
    """Return the height and the width, which the operator checks."""
    if isinstance(size, int | np.integer):
        return size, size
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InvalidArgumentError(f"size is {size!r}, expected pixels: a side, or (height, width)")
    return size[0], size[1]


def _template(name: str, height: Any, width: Any) -> FloatArray:
    """Return a known template, [5, 2], for a crop."""
    if name != "arcface":
        raise InvalidArgumentError(f"template is {name!r}, expected 'arcface' or five points (x, y)")
    points, beside = np.array(_ARCFACE), np.array([8, 0])
    try:
        if height == width:
            from_128 = height % 128 == 0 and height % 112 != 0
            scaled = (points + beside) * (height / 128) if from_128 else points * (height / 112)
        elif height * 96 == width * 112:
            scaled = (points - beside) * (height / 112)
        else:
            raise InvalidArgumentError(
                f"size is {(height, width)}, expected a square or the proportions of (112, 96), for which "
                "there is a template 'arcface'; for another size give five points (x, y) as template"
            )
    except (TypeError, OverflowError):  # no numbers, or far too large: the operator says so
        scaled = points
    return np.asarray(scaled, np.float32)
