"""Parts of calibration images around faces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch

from engine.config.model import BODY_STRIDE, RetinaFaceConfig
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.qdq.heads import face_weights
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray, Image

_SIDE = 10 * BODY_STRIDE


def face_centres(config: RetinaFaceConfig, reference: Simulation, batch: FloatArray) -> Sequence[tuple[int, int]]:
    """Return the places (y, x), in pixels, of the cells where the reference network finds a face."""
    with torch.no_grad():
        heads = reference.run(torch.from_numpy(batch))
    found: list[tuple[int, int]] = []
    for level in config.levels:
        face = face_weights(config, heads[f"logits_{level.stride}"])
        for y, x in (face[0].amax(0) > 0.5).nonzero().tolist():
            found.append((y * level.stride, x * level.stride))
    return found


def cut(
    picture: Image, around: tuple[float, float], size: tuple[int, int], factor: float, rng: np.random.Generator
) -> Image:
    """Return a random part of a picture, magnified, mirrored or not.

    Args:
        picture: uint8 [H, W, 3].
        around: (y, x) of a place that the part has.
        size: (height, width) that the part has at most.
        factor: of the magnification.
        rng: for all random choices.
    """
    part = picture
    for axis in (0, 1):
        length = picture.shape[axis]
        side = min(length, max(1, math.floor(size[axis] / factor)))
        at = int(np.clip(around[axis], 0, length - 1))
        begin = int(rng.integers(max(0, at - side + 1), min(length - side, at) + 1))
        part = part.take(range(begin, begin + side), axis=axis)
    height, width = (max(1, min(most, round(side * factor))) for most, side in zip(size, part.shape[:2], strict=True))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(part, (width, height), interpolation=method)
    return np.ascontiguousarray(resized[:, ::-1] if rng.random() < 0.5 else resized, np.uint8)


def crop(
    images: CalibrationImages, centres: Mapping[int, Sequence[tuple[int, int]]], rng: np.random.Generator
) -> FloatArray:
    """Return a random crop of a random image, mirrored or not, [1, 3, h, w]: a quarter of the cost of whole images.

    Args:
        images: to crop.
        centres: for each usable image, by index, the places (y, x) of its faces. A crop contains one of them; without
            faces it may lie anywhere.
        rng: for all random choices.
    """
    index = int(rng.choice(list(centres)))
    batch = images.batch(index)
    faces = centres[index]
    around = faces[int(rng.integers(len(faces)))] if faces else None
    part = batch
    for axis in (2, 3):
        length = batch.shape[axis]
        side = min(length, _SIDE)
        low, high = 0, length - side
        if around is not None:
            low, high = max(low, around[axis - 2] - side + 1), min(high, around[axis - 2])
        begin = int(rng.integers(-(-low // BODY_STRIDE), high // BODY_STRIDE + 1)) * BODY_STRIDE
        part = part.take(range(begin, begin + side), axis=axis)
    return part[..., ::-1].copy() if rng.random() < 0.5 else part
