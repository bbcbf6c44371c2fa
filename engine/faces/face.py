"""One face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.types import FloatArray


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image. Two are equal if all their values are.

    Attributes:
        box: float32 [4], x1 y1 x2 y2 in pixels of the image; it may reach beyond the image's edges.
        score: in [0, 1].
        landmarks: float32 [L, 2], x y in pixels of the image; of five: left eye, right eye, nose, left and right corner
            of the mouth, where left is the left of the image. None if the model has no landmark heads.
        class_id: from 1; None if the model has one class.
        class_name: its name; None if there is none.
        values: float32 [D] of each of the model's heads of values, by name; see Detections.
        vertices: float32 [V, 3] of its mesh, x and y in pixels of the image, and depth; None if it has none.
        colours: float32 [V, 3] of these vertices: red, green, blue of the surface without light, 0 to 1; None if there
            are none.
    """

    box: FloatArray
    score: float
    landmarks: FloatArray | None = None
    class_id: int | None = None
    class_name: str | None = None
    values: Mapping[str, FloatArray] = field(default_factory=dict)
    vertices: FloatArray | None = None
    colours: FloatArray | None = None

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
            (self.score, self.class_id, self.class_name) == (other.score, other.class_id, other.class_name)
            and np.array_equal(self.box, other.box)
            and same_or_none(self.landmarks, other.landmarks)
            and same_values(self.values, other.values)
            and same_or_none(self.vertices, other.vertices)
            and same_or_none(self.colours, other.colours)
        )

    __hash__ = None  # type: ignore[assignment] # arrays can be changed


def same_or_none(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    """Whether two arrays are equal, NaN being like NaN, or both are None."""
    return a is b if a is None or b is None else np.array_equal(a, b, equal_nan=True)


def same_values(a: Mapping[str, FloatArray], b: Mapping[str, FloatArray]) -> bool:
    """Whether two mappings hold equal arrays under the same names."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
