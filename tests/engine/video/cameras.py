"""A double of OpenCV's VideoCapture: a camera that answers as the test says."""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np

from engine.types import Image


def numbered(index: int) -> Image:
    """Return a picture that tells its number."""
    return np.full((4, 6, 3), index, np.uint8)


class Camera:
    """One connection: gives its pictures, waits before each, and then dies.

    Attributes:
        released: whether it was closed.
    """

    def __init__(self, pictures: Sequence[int] | None, waits: float = 0.0, sides: tuple[int, int] = (6, 4)) -> None:
        """Say which pictures; None is a camera that cannot be opened."""
        self._pictures, self._waits, self._sides = list(pictures or ()), waits, sides
        self._opened = pictures is not None
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._opened

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: self._sides[0], cv2.CAP_PROP_FRAME_HEIGHT: self._sides[1]}.get(name, 0)

    def read(self) -> tuple[bool, Image | None]:
        time.sleep(self._waits)
        return (True, numbered(self._pictures.pop(0))) if self._pictures else (False, None)

    def release(self) -> None:
        self.released = True
