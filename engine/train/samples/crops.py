"""Which square of a picture a sample shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.train.samples.scene import Scene, sizes_of

TRIES = 250
_LEAST_SCALE = 0.3
_WHOLE = 0.2  # part of the crops that have the whole short side


def random_square(
    scene: Scene, size: int, least: float, rng: np.random.Generator, widest: float = 1.0
) -> tuple[int, int, int] | None:
    """Choose a square, of .3 to `widest` of the short side, that shows a face: left, top and side in pixels.

    It lies inside the picture as far as it can: a square that is wider or higher has all of that side in it.

    As in the reference (Pytorch_Retinaface, data/data_augment.py), one square in five has the whole short side, a face
    must lie wholly inside, and 250 squares are tried. Of a picture without faces any square will do.

    Args:
        scene: the picture.
        size: to which the square will be scaled.
        least: size that a face must then have, in pixels.
        rng: the source of chance.
        widest: side of the largest square, in short sides; at least 1.

    Returns:
        None if no square that was tried shows a face: they are too large, too small, or too near to the border.
    """
    height, width = scene.image.shape[:2]
    chance = rng.random((TRIES, 4))
    scales = np.where(chance[:, 0] < _WHOLE, 1.0, _LEAST_SCALE + (widest - _LEAST_SCALE) * chance[:, 1])
    sides = np.maximum(scales * min(height, width), 1).astype(np.intp)
    left, top = _placed(width - sides, chance[:, 2]), _placed(height - sides, chance[:, 3])
    faces = scene.boxes[~scene.ignored]
    good = np.ones(TRIES, np.bool_)
    if len(faces):
        low = np.stack([left, top], 1)[:, None]
        inside = (faces[:, :2] >= low).all(2) & (faces[:, 2:] <= low + sides[:, None, None]).all(2)
        good = (inside & (sizes_of(faces) * size >= least * sides[:, None])).any(1)
    first = int(good.argmax())
    return (int(left[first]), int(top[first]), int(sides[first])) if good[first] else None


def _placed(room: NDArray[np.intp], chance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return numbers from 0 to the room on that side, which may be negative."""
    return np.asarray(np.sign(room) * (chance * (np.abs(room) + 1)).astype(np.intp))
