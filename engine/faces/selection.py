"""Which of the faces found a caller wants."""

from __future__ import annotations

from dataclasses import dataclass

from engine.faces.checks import check_count, check_pixels
from engine.faces.detections import Detections


@dataclass(frozen=True)
class Selection:
    """The faces that a caller wants: large enough, and the best of them.

    Attributes:
        min_size: faces need a longer shorter side, in pixels of the image; None is any.
        max_faces: at most so many; None is all.
    """

    min_size: float | None = None
    max_faces: int | None = None

    def __post_init__(self) -> None:
        """Check; InvalidArgumentError says what is wrong."""
        if self.min_size is not None:
            check_pixels(self.min_size, "min_size")
        if self.max_faces is not None:
            check_count(self.max_faces, "max_faces")

    def of(self, faces: Detections) -> Detections:
        """Return the selected faces, of all that are above the score threshold, best first."""
        if self.min_size is not None:
            faces = faces.larger_than(self.min_size)
        return faces if self.max_faces is None else faces.max_faces(self.max_faces)
