"""engine.crop: the box of a face, with a margin, as a square, clipped or padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine import crop
from engine.errors import InvalidArgumentError
from engine.faces import Detections, unchecked


def boxed(*boxes: Any) -> Detections:
    """Return detections of boxes, without landmarks."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return unchecked(array, np.ones(len(array), np.float32), None)


@pytest.mark.parametrize(
    ("box", "options", "extent"),
    [
        ((10, 20, 30, 50), {"margin": 0}, (10, 20, 30, 50)),
        ((10, 20, 30, 50), {}, (5, 12, 35, 58)),  # a quarter of 20, and of 30: 7.5, to whole pixels outside
        ((10.4, 20.6, 29.5, 49.5), {"margin": 0}, (10, 20, 30, 50)),
        ((10, 20, 30, 50), {"margin": 0, "square": True}, (5, 20, 35, 50)),
        ((10, 20, 40, 30), {"margin": 0, "square": True}, (10, 10, 40, 40)),
        ((10, 20, 30, 50), {"margin": 0.1, "square": True}, (2, 17, 38, 53)),
    ],
)
@pytest.mark.parametrize("pad", [False, True])
def test_inside_the_image(
    rng: np.random.Generator, box: Any, options: dict[str, Any], extent: tuple[int, ...], pad: bool
) -> None:
    """The extent in whole pixels; padding is not needed."""
    image = rng.integers(0, 256, (80, 70, 3), np.uint8)
    left, top, right, bottom = extent
    (found,) = crop(image, boxed(box), pad=pad, **options)
    np.testing.assert_array_equal(found, image[top:bottom, left:right])


def test_beyond_the_edges(rng: np.random.Generator) -> None:
    """Clipped, or filled with zeros."""
    image = rng.integers(1, 256, (40, 50, 3), np.uint8)
    boxes = [(-10, -5, 20, 15), (40, 30, 60, 55), (-5, -6, 55, 46)]
    for (left, top, right, bottom), clipped, padded in zip(
        boxes, crop(image, boxed(*boxes), 0), crop(image, boxed(*boxes), 0, pad=True), strict=True
    ):
        np.testing.assert_array_equal(clipped, image[max(top, 0) : bottom, max(left, 0) : right])
        around = np.pad(image, ((20, 20), (20, 20), (0, 0)))
        np.testing.assert_array_equal(padded, around[20 + top : 20 + bottom, 20 + left : 20 + right])


@pytest.mark.parametrize(
    ("box", "pixel"),
    [
        ((60, 10, 70, 20), None),
        ((-9, -9, -3, -3), (0, 0)),
        ((90, 80, 99, 99), (39, 49)),
        ((1e30, -1e30, 2e30, -9e29), (0, 49)),
    ],
)
def test_beside_the_image(rng: np.random.Generator, box: Any, pixel: tuple[int, int] | None) -> None:
    """The nearest pixels; with padding all are zero, if there is memory for them."""
    image = rng.integers(1, 256, (40, 50, 3), np.uint8)
    (found,) = crop(image, boxed(box), 0)
    if pixel is None:
        np.testing.assert_array_equal(found, image[10:20, 49:50])
    else:
        np.testing.assert_array_equal(found, image[pixel[0], pixel[1]].reshape(1, 1, 3))
    if max(box) < 1e6:
        (empty,) = crop(image, boxed(box), 0, pad=True)
        assert empty.shape == (box[3] - box[1], box[2] - box[0], 3)
        assert not empty.any()


def test_copies_of_all_faces(rng: np.random.Generator) -> None:
    """Also of a box that is the whole image, of a box without area, and of an image of one pixel."""
    image = rng.integers(1, 256, (40, 50, 3), np.uint8)
    whole, point = crop(image, boxed((0, 0, 50, 40), (7, 8, 7, 8)), 0)
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(point, image[8:9, 7:8])
    assert not np.shares_memory(whole, image)
    assert crop(image, boxed()) == []
    (one,) = crop(image[:1, :1], boxed((0, 0, 1, 1)), 1.0, square=True)
    np.testing.assert_array_equal(one, image[:1, :1])


IMAGE, BOX = np.zeros((40, 50, 3), np.uint8), (1, 2, 11, 12)
BAD: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((IMAGE.astype(float), boxed(BOX)), {}, "image has dtype float64, expected uint8"),
    ((IMAGE[..., :2], boxed(BOX)), {}, r"image has shape \(40, 50, 2\), expected"),
    ((IMAGE[:0], boxed(BOX)), {}, r"image has shape \(0, 50, 3\): it has no pixels"),
    (("photo.jpg", boxed(BOX)), {}, "image, the file photo.jpg, cannot be read"),
    ((IMAGE, [BOX]), {}, "faces is a list, expected Detections"),
    ((IMAGE, boxed(BOX)[:0], -0.1), {}, "margin is -0.1, expected a fraction of the box, 0 to 1000"),
    ((IMAGE, boxed(BOX), -0.1), {}, "margin is -0.1, expected a fraction of the box, 0 to 1000"),
    ((IMAGE, boxed(BOX), float("nan")), {}, "margin is nan, expected a fraction"),
    ((IMAGE, boxed(BOX), float("inf")), {}, "margin is inf, expected a fraction"),
    ((IMAGE, boxed(BOX), "1"), {}, "margin is '1', expected a fraction"),
    ((IMAGE, boxed(BOX), True), {}, "margin is True, expected a fraction"),
    ((IMAGE, boxed(BOX, (0, 0, np.nan, 1))), {}, r"the box of face 1 is \[0.0, 0.0, nan, 1.0\], expected finite"),
    ((IMAGE, boxed((0, 0, 16384, 16384))), {"pad": True}, "a crop with its padding has 24576 x 24576 pixels"),
    ((IMAGE, boxed((0, 0, 3e38, 3e38)), 1000), {"pad": True}, "a crop with its padding has 6[0-9]{41} x 6"),
    ((IMAGE, boxed((0, 0, 3e38, 3e38)), 1000), {"pad": True, "square": True}, "a crop with its padding has 6"),
    ((IMAGE, boxed(BOX), 1000.5), {}, "margin is 1000.5, expected a fraction of the box, 0 to 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "options", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_crop_refuses(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    """Each message says what was given and what is expected."""
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        crop(*arguments, **options)
