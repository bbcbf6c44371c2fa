"""The drawn picture; that detectors find its faces is tested with the plausibility of weights."""

from __future__ import annotations

import numpy as np

from engine.pictures.drawn import drawn_faces


def test_it_is_a_picture_and_always_the_same() -> None:
    first, again = drawn_faces(), drawn_faces()
    assert first.shape == (320, 320, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)


def test_faces_have_the_colours_of_skin_and_lips_in_bgr_order() -> None:
    blue, green, red = drawn_faces()[95:105, 80:90].reshape(-1, 3).mean(0)  # the middle of the largest face
    assert blue < green < red
