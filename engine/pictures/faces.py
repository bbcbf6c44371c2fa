"""Cuts labelled faces out of photos, to be pasted elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics.matching import box_size
from engine.types import Image

MARGINS = (0.5, 0.35, 0.25, 0.15)
"""Margins around a cut face, as a share of its size: the widest that touches no other face is taken."""
LEAST_SIZE = 8.0


@dataclass(frozen=True)
class LabelledImage:
    """A picture with the boxes of its faces.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        boxes: [N, 4], x1 y1 x2 y2 in pixels, of all its faces.
    """

    image: Image
    boxes: NDArray[np.floating]


@dataclass(frozen=True)
class CutFace:
    """A face with its surroundings.

    Attributes:
        image: uint8 [h, w, 3], a part of the photo.
        box: float64 [4], the face in pixels of that part; inside it.
    """

    image: Image
    box: NDArray[np.float64]

    @property
    def size(self) -> float:
        """Square root of the area of the box."""
        return float(box_size(self.box)[0])


def cut_faces(photo: LabelledImage) -> list[CutFace]:
    """Cut out each face of a photo, except faces of under 8 pixels and faces that touch others."""
    height, width = photo.image.shape[:2]
    boxes = np.asarray(photo.boxes, np.float64).reshape(-1, 4)
    cuts = []
    for index, box in enumerate(boxes):
        # A labelled box may reach beyond the photo.
        inside = np.clip(box, 0, (width, height, width, height))
        size = float(box_size(inside)[0])
        region = _region(inside, np.delete(boxes, index, axis=0), size, (height, width))
        if size >= LEAST_SIZE and region is not None:
            x1, y1, x2, y2 = region
            # A copy: a view would keep the whole photo in memory.
            cuts.append(CutFace(photo.image[y1:y2, x1:x2].copy(), inside - (x1, y1, x1, y1)))
    return cuts


def _region(
    box: NDArray[np.float64], others: NDArray[np.float64], size: float, shape: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    limits = (shape[1], shape[0]) * 2
    for margin in MARGINS:
        low, high = np.floor(box[:2] - margin * size), np.ceil(box[2:] + margin * size)
        region = np.clip(np.concatenate([low, high]), 0, limits)
        if not any(intersection(region, other) for other in others):
            x1, y1, x2, y2 = region.astype(int).tolist()
            return x1, y1, x2, y2
    return None


def intersection(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the area of the intersection of two boxes."""
    return float(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod())


def resized(face: CutFace, shape: tuple[int, int], *, mirrored: bool) -> CutFace:
    """Return the face resized to (height, width), optionally mirrored, with its exact box."""
    height, width = face.image.shape[:2]
    shrinks = shape[0] * shape[1] < height * width
    # INTER_AREA averages all pixels when it shrinks, but is nearest neighbour when it enlarges.
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(face.image, (shape[1], shape[0]), interpolation=method), np.uint8)
    # Pixels are squares: the edges of the picture map to its edges.
    box = face.box * ((shape[1] / width, shape[0] / height) * 2)
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
        box = np.array([shape[1] - box[2], box[1], shape[1] - box[0], box[3]])
    return CutFace(image, box)


def feather(face: CutFace) -> NDArray[np.float32]:
    """Return the opacity of each pixel, [h, w]: 1 on the face, falling smoothly to 0 at the edges of the cut.

    The edge stays hard where the photo ends at the face: there is no margin to fade.
    """
    height, width = face.image.shape[:2]
    x1, y1, x2, y2 = face.box
    across, down = _ramp(width, x1, x2), _ramp(height, y1, y2)
    return np.asarray(np.outer(down, across), np.float32)


def _ramp(length: int, low: float, high: float) -> NDArray[np.float64]:
    centres = np.arange(length) + 0.5
    before, after = max(low, 1e-9), max(length - high, 1e-9)
    distance = np.minimum(np.clip(centres / before, 0, 1), np.clip((length - centres) / after, 0, 1))
    return np.asarray(distance**2 * (3 - 2 * distance))
