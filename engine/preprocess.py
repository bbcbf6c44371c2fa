"""Letterboxing images into a batch, and faces back into each image's pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine import ops
from engine.config import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.runtime.session import RawDetections
from engine.types import Detections, FloatArray, Image

MAX_IMAGE_SIDE = 16384


def check_image(image: object, name: str) -> Image:
    """Return `image` as a contiguous uint8 array [H, W, 3].

    Raises:
        InvalidArgumentError: another type, dtype, rank, number of channels, or no pixels.
    """
    if not isinstance(image, np.ndarray):
        raise InvalidArgumentError(
            f"{name} is a {type(image).__name__}, expected a NumPy array, uint8 [H, W, 3] in BGR order as cv2.imread "
            "returns (which gives None for a file that it cannot read)"
        )
    if image.dtype != np.uint8:
        raise InvalidArgumentError(f"{name} has dtype {image.dtype}, expected uint8 with values 0 to 255")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InvalidArgumentError(f"{name} has shape {image.shape}, expected [H, W, 3] in BGR order")
    if 0 in image.shape:
        raise InvalidArgumentError(f"{name} has shape {image.shape}: it has no pixels")
    if max(image.shape) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(f"{name} has shape {image.shape}, expected sides up to {MAX_IMAGE_SIDE}")
    return np.ascontiguousarray(image)


def letterbox(images: Sequence[Image], size: tuple[int, int], config: RetinaFaceConfig) -> tuple[FloatArray, FloatArray]:
    """Letterbox BGR images to the network's input.

    Returns:
        The batch, float32 [N, 3, H, W], and the transforms, float32 [N, 3]: scale, pad_x, pad_y in pixels.
    """
    batch, transforms = ops.letterbox(
        images,
        size,
        mean=config.mean,
        std=config.std,
        swap_rb=config.color_order == "rgb",
        pad_value=config.pad_value,
    )
    return batch, transforms


def to_image(
    raw: RawDetections,
    index: int,
    transform: FloatArray,
    image_size: tuple[int, int],
    score_threshold: float,
) -> Detections:
    """Return image `index` of a batch's detections in that image's own pixels.

    Args:
        raw: of the batch.
        index: of the image in it.
        transform: float32 [3], scale, pad_x and pad_y of its letterbox.
        image_size: its height and width.
        score_threshold: faces need a score above it.
    """
    count = int(raw.num_detections[index])
    scale, pad = float(transform[0]), transform[1:]
    height, width = image_size
    # The resized sides were rounded to whole pixels, so each axis has its own exact factor.
    factors = np.array([width / max(1, round(width * scale)), height / max(1, round(height * scale))], np.float32)
    points = (raw.boxes[index, :count].reshape(-1, 2, 2) - pad) * factors
    landmarks = None
    if raw.landmarks is not None:
        landmarks = (raw.landmarks[index, :count].reshape(-1, 5, 2) - pad) * factors
    return Detections(points.reshape(-1, 4), raw.scores[index, :count], landmarks).above(score_threshold)
