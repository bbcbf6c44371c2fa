"""Views of the calibration images where they have few faces: other sizes and places of the same faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.precision.calibrate.crops import cut
from engine.precision.calibrate.images import CalibrationImages
from engine.types import FloatArray, Image

# With fewer faces, half of them are too few to fit to.
FEW_FACES = 100
# Images and views with a face to fit to, at least.
_IMAGES = 40
# Factors of a view's magnification, on a logarithmic scale.
_SMALLEST, _LARGEST = 0.35, 2.0


def with_views(images: CalibrationImages, faces: Sequence[FloatArray]) -> CalibrationImages:
    """Add views of the images with faces, and hold out no image; the result depends on the images only.

    Args:
        images: without views.
        faces: boxes in each image, [N, 4].
    """
    rng = np.random.default_rng(0)
    usable = [(picture, boxes) for picture, boxes in zip(images.pictures, faces, strict=True) if len(boxes)]
    missing = _IMAGES - len(usable)
    views = [_view(*usable[i % len(usable)], images.letterbox.size, rng) for i in range(missing)] if usable else []
    return replace(images, pictures=(*images.pictures, *views), hold_out=None)


def _view(picture: Image, boxes: FloatArray, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return a picture at a random scale, mirrored or not, cut to the input's size around a random face."""
    scale = math.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
    box = boxes[int(rng.integers(len(boxes)))]
    centre = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
    return cut(picture, centre, size, scale, rng)
