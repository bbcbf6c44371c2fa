"""Colours that are changed at random, as formulas allow."""

from __future__ import annotations

import colorsys

import numpy as np

from engine.train.samples.colours import distorted
from engine.types import Image

TIMES = 1000


def results(*bgr: int) -> list[Image]:
    """A pixel's colours after many distortions."""
    image = np.full((2, 3, 3), bgr, np.uint8)
    rng = np.random.default_rng(4)
    found = [distorted(image, rng) for _ in range(TIMES)]
    assert all(
        other.shape == image.shape and other.dtype == np.uint8 and (other == other[0, 0]).all() for other in found
    )
    assert (image == bgr).all()
    return [other[0, 0] for other in found]


def test_grey_stays_grey_between_the_limits() -> None:
    levels = np.array(results(100, 100, 100)).astype(int)
    assert (levels == levels[:, :1]).all()
    assert 34 <= levels.min() < 45  # (100 - 32) / 2
    assert 170 < levels.max() <= 198  # (100 + 32) * 1.5
    assert 0.2 < (levels[:, 0] == 100).mean() < 0.3  # neither brighter nor of more contrast: one in four
    assert min(level[0] for level in results(5, 5, 5)) == 0
    assert max(level[0] for level in results(250, 250, 250)) == 255


def test_hue_moves_by_36_degrees_and_saturation_by_half() -> None:
    moved, stretched = [], []
    for blue, green, red in results(60, 120, 60):
        hue, saturation, _ = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        moved.append(hue * 360 - 120)
        stretched.append(saturation / 0.5)
    # Of 8 bits a few steps are lost, more of dark colours.
    assert -41 < min(moved) < -30
    assert 30 < max(moved) < 41
    assert min(stretched) < 0.6
    assert max(stretched) > 1.4
    assert 0.3 < np.mean(np.abs(moved) < 1) < 0.7  # unchanged half the time
    # What brightness does: (120 - 60) / (120 -+ 32), and with contrast clipped at 255 less.
    assert min(stretched) > 0.5 * 60 / 152 / 0.5 - 0.05
    assert max(stretched) < 1.5 * 60 / 88 / 0.5 + 0.05


def test_an_untouched_picture_is_the_same_one() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    rng = np.random.default_rng(4)
    same = [np.array_equal(distorted(image, rng), image) for _ in range(TIMES)]
    assert 0.03 < np.mean(same) < 0.1  # none of four changes: one in sixteen
