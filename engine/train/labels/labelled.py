"""Faces as labels give them, and pictures with such faces."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.config.heads import FIVE_MIRRORED
from engine.pictures.heads import clear_unlabelled
from engine.types import FloatArray, IntArray

_LARGEST = 1e9
_OTHERS = 6  # values of a face beside its points: a box, whether it is ignored, and its class


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of a picture, as a file gives them.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels; they may be empty or lie outside of the picture.
        landmarks: float32 [N, L, 2], NaN where a face has none. Five are left eye, right eye, nose, left and right
            corner of the mouth, where left is left in the picture.
        ignored: bool [N]: faces that are neither to be found nor background.
        classes: int32 [N], numbers of the model's classes, from 1.
        values: float32 [N, D], of the model's heads of values one after the other, points in pixels; NaN where a face
            has none. None if there are no such heads, or if the format has no values.
    """

    boxes: FloatArray
    landmarks: FloatArray
    ignored: NDArray[np.bool_]
    classes: IntArray
    values: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture with its faces.

    Attributes:
        path: of the picture.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels, inside the picture, not empty.
        landmarks: see Faces. Points may lie outside of the picture.
        ignored: see Faces: WIDER FACE's "invalid", COCO's "iscrowd", Pascal VOC's "difficult".
        classes: see Faces.
        values: see Faces; None if the model has no heads of values.
    """

    path: Path
    boxes: FloatArray
    landmarks: FloatArray
    ignored: NDArray[np.bool_]
    classes: IntArray
    values: FloatArray | None = None


class FaceList:
    """Gathers the faces of a picture: of five points in 64 bytes a face, since files of text may have millions."""

    def __init__(self, points: int = len(FIVE_MIRRORED)) -> None:
        """Begin without faces, which will have so many points."""
        self._values, self._points = array("f"), points
        self._none = (-1.0,) * 2 * points

    def add(
        self, box: Sequence[float], points: Sequence[float] | None = None, ignored: bool = False, number: int = 1
    ) -> None:
        """Add a face.

        Args:
            box: x1 y1 x2 y2.
            points: x and y of each point; one that is -1 -1 is not labelled, and the face then has no landmarks.
            ignored: see Faces.
            number: of its class, see Faces.

        Raises:
            ValueError: a number is not finite, or beyond 1e9 pixels.
        """
        values = [*box, *(self._none if points is None else points), float(ignored), float(number)]
        for value in values:
            if not abs(value) <= _LARGEST:
                raise ValueError(f"{value} is no number of pixels")
        self._values.extend(values)

    def faces(self) -> Faces:
        """Return the faces that were added."""
        values = np.array(self._values, np.float32).reshape(-1, 2 * self._points + _OTHERS)
        landmarks = values[:, 4:-2].reshape(len(values), self._points, 2).copy()
        clear_unlabelled(landmarks)
        return Faces(values[:, :4].copy(), landmarks, values[:, -2] != 0, values[:, -1].astype(np.int32))
