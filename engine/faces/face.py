"""One face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.types import FloatArray


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image. Two are equal if all their values are.

    Attributes:
        box: float32 [4], x1 y1 x2 y2 in pixels of the image; it may reach beyond the image's edges.
        score: in [0, 1].
        landmarks: float32 [5, 2], x y in pixels of the image: left eye, right eye, nose, left and right corner of the
            mouth, where left is the left of the image. None if the model has no landmark heads.
    """

    box: FloatArray
    score: float
    landmarks: FloatArray | None = None

    @property
    def width(self) -> float:
        """Of the box, in pixels."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Of the box, in pixels."""
        return float(self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return self.width * self.height

    def __eq__(self, other: object) -> bool:
        """Compare all values exactly."""
        if not isinstance(other, Face):
            return NotImplemented
        return (
            self.score == other.score
            and np.array_equal(self.box, other.box)
            and same_or_none(self.landmarks, other.landmarks)
        )

    __hash__ = None  # type: ignore[assignment] # arrays can be changed


def same_or_none(a: FloatArray | None, b: FloatArray | None) -> bool:
    """Whether two arrays are equal, or both are None."""
    return a is b if a is None or b is None else np.array_equal(a, b)
