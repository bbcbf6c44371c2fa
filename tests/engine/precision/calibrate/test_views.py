"""Views of calibration images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.precision.calibrate import views
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.calibrate.views import with_views
from engine.runtime.letterbox import Letterbox
from engine.types import Image
from tests.support.graphs import CONFIG

SIZE = (96, 128)
MARK = (32, 24, 40, 32)  # x1 y1 x2 y2
NOTHING = np.zeros((0, 4), np.float32)


def _images(*pictures: Image) -> CalibrationImages:
    names = tuple(Path(str(i)) for i in range(len(pictures)))
    return CalibrationImages(names, ("",) * len(names), (), Letterbox(SIZE, CONFIG, enlarge=False), pictures)


def _marked() -> Image:
    """A dark picture with a bright face."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[MARK[1] : MARK[3], MARK[0] : MARK[2]] = 255
    return picture


def test_every_view_has_the_face_and_they_differ() -> None:
    images = with_views(_images(_marked(), np.zeros((50, 60, 3), np.uint8)), [np.array([MARK], np.float32), NOTHING])
    made = images.pictures[2:]
    assert images.fitting == list(range(len(images.pictures)))
    assert images.held_out == [0, 1]
    shares = []
    for view in made:
        assert view.dtype == np.uint8
        assert all(0 < side <= most for side, most in zip(view.shape, SIZE, strict=False))
        assert view.max() > 128, "no face"
        shares.append(int((view[..., 0] > 128).sum()))
    # From a factor of .35, with an area of 8, to nearly 2, with 256, unless the edge of the view cuts the face.
    assert min(shares) < 20
    assert max(shares) > 150
    assert len({view.tobytes() for view in made}) > len(made) // 2


def test_views_are_mirrored_or_not() -> None:
    """Red is left of blue in the picture."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, : SIZE[1] // 2, 2] = picture[:, SIZE[1] // 2 :, 0] = 255
    box = np.array([[SIZE[1] // 2 - 2, 4, SIZE[1] // 2 + 2, 8]], np.float32)
    orders = set()
    for view in with_views(_images(picture), [box]).pictures[1:]:
        red, blue = (np.nonzero(view[..., channel].max(0) > 128)[0] for channel in (2, 0))
        if len(red) and len(blue):
            orders.add(bool(red.mean() < blue.mean()))
    assert orders == {True, False}


def test_there_are_as_many_views_as_pictures_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_IMAGES", 5)
    faces = [np.array([MARK], np.float32)] * 2
    assert len(with_views(_images(_marked(), _marked()), faces).pictures) == 5
    assert len(with_views(_images(*[_marked()] * 7), faces[:1] * 7).pictures) == 7
    assert len(with_views(_images(_marked()), [NOTHING]).pictures) == 1


def test_views_are_repeatable() -> None:
    one, two = (with_views(_images(_marked()), [np.array([MARK], np.float32)]) for _ in range(2))
    for ours, theirs in zip(one.pictures, two.pictures, strict=True):
        np.testing.assert_array_equal(ours, theirs)
