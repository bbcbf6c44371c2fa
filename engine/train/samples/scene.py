"""A picture and its faces, changed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import FloatArray, Image, IntArray


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its faces, as in LabelledPicture.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        boxes: float32 [N, 4].
        landmarks: float32 [N, L, 2].
        ignored: bool [N].
        classes: int32 [N].
        values: float32 [N, D]; D is 0 without heads of values.
    """

    image: Image
    boxes: FloatArray
    landmarks: FloatArray
    ignored: NDArray[np.bool_]
    classes: IntArray
    values: FloatArray

    def cropped(self, left: int, top: int, side: int, value: tuple[int, int, int] = (0, 0, 0)) -> Scene:
        """Return a square of the picture, with a colour (BGR) where it reaches beyond.

        A face stays if its centre is inside, with its box clipped. What shows of other faces is ignored: it is not
        enough to be found, but taught as background, as in the reference, it would be the hardest of all.
        """
        origin = np.array([left, top], np.float32)
        boxes = self.boxes - np.tile(origin, 2)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        has_centre = ((centres > 0) & (centres < side)).all(1)
        boxes = np.clip(boxes, 0, side)
        seen = (boxes[:, :2] < boxes[:, 2:]).all(1)
        return Scene(
            self._cut(left, top, side, value),
            boxes[seen],
            self.landmarks[seen] - origin,
            (self.ignored | ~has_centre)[seen],
            self.classes[seen],
            self.values[seen],
        )

    def holds(self, left: int, top: int, side: int) -> bool:
        """Return whether a square lies inside the picture."""
        height, width = self.image.shape[:2]
        return min(left, top) >= 0 and left + side <= width and top + side <= height

    def _cut(self, left: int, top: int, side: int, value: tuple[int, int, int]) -> Image:
        shown = self.image[max(top, 0) : top + side, max(left, 0) : left + side]
        if self.holds(left, top, side):
            return shown
        above, before = max(-top, 0), max(-left, 0)
        below, behind = side - above - shown.shape[0], side - before - shown.shape[1]
        cut = cv2.copyMakeBorder(shown, above, below, before, behind, cv2.BORDER_CONSTANT, value=value)
        return np.asarray(cut, np.uint8)

    def padded(self, side: int, value: tuple[int, int, int]) -> Scene:
        """Return a square with the picture in its upper left corner, and a colour (BGR) beside and below."""
        height, width = self.image.shape[:2]
        below, beside = side - height, side - width
        image = cv2.copyMakeBorder(self.image, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=value)
        return replace(self, image=np.asarray(image, np.uint8))

    def resized(self, side: int, interpolation: int) -> Scene:
        """Return a square scene at another size."""
        image = cv2.resize(self.image, (side, side), interpolation=interpolation)
        scale = np.float32(side / len(self.image))
        boxes = np.minimum(self.boxes * scale, np.float32(side))  # which rounding may exceed
        return replace(self, image=np.asarray(image, np.uint8), boxes=boxes, landmarks=self.landmarks * scale)

    def mirrored(self, places: Sequence[int]) -> Scene:
        """Return the mirror image. What is left in the picture stays left: landmarks change their places.

        Args:
            places: see RetinaFaceConfig.mirrored_points; none of scenes without landmarks.
        """
        width = np.float32(self.image.shape[1])
        boxes, landmarks = self.boxes.copy(), self.landmarks[:, list(places)]
        boxes[:, 0::2] = width - self.boxes[:, 2::-2]
        landmarks[..., 0] = width - landmarks[..., 0]
        image = np.asarray(cv2.flip(self.image, 1), np.uint8)
        return replace(self, image=image, boxes=boxes, landmarks=landmarks)

    def without_small(self, least: float) -> Scene:
        """Return the scene with faces ignored whose size, the square root of the area, is below `least` pixels."""
        return replace(self, ignored=self.ignored | (sizes_of(self.boxes) < least))


def sizes_of(boxes: FloatArray) -> FloatArray:
    """Return the square roots of the areas of boxes [N, 4], as float32 [N]."""
    sizes: FloatArray = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], 1))
    return sizes
