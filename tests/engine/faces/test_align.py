"""engine.align: templates, several images, landmarks where the template has them, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

import engine
from engine import align
from engine.errors import InvalidArgumentError
from engine.faces import Detections, unchecked
from engine.types import Image
from tests.support.backends import Backend
from tests.support.oracles.align import opencv, umeyama
from tests.support.tolerances import GREY_LEVELS_OPENCV

# As published by insightface for crops of 112 x 112, by itself here so that a slip of a digit shows.
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
# For 112 x 96, of SphereFace's and ArcFace's preprocessing.
ARCFACE_96 = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)


def faces_of(*landmarks: Any) -> Detections:
    """Return detections with landmarks [5, 2]; their boxes are of no matter here."""
    points = np.array(landmarks, np.float32).reshape(-1, 5, 2)
    return unchecked(np.zeros((len(points), 4), np.float32), np.ones(len(points), np.float32), points)


def placed(template: NDArray[Any], scale: float, degrees: float, centre: tuple[float, float]) -> NDArray[np.float64]:
    """Return a template, scaled, turned and moved."""
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((template - template.mean(axis=0)) @ turn.T + centre)


def with_spots(size: tuple[int, int], points: NDArray[Any], sigma: float) -> Image:
    """Return a dark image with a round bright spot at each point, exact to parts of a pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    level = np.zeros(size)
    for x, y in points:
        level += 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(level.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def centre_near(crop: Image, point: NDArray[Any], reach: int) -> NDArray[np.float64]:
    """Return the centre of gravity (x, y) of the levels around a point of a crop."""
    left, top = (int(v) for v in np.round(point) - reach)
    assert left >= 0
    assert top >= 0
    part = crop[top : top + 2 * reach + 1, left : left + 2 * reach + 1, 0].astype(np.float64)
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([left + (part * columns).sum() / part.sum(), top + (part * rows).sum() / part.sum()])


@pytest.mark.parametrize(
    ("scale", "degrees", "centre"),
    [
        *[(1.0, degrees, (150.0, 120.0)) for degrees in (0, 17, -45, 90, 135, 180)],
        *[(0.25, degrees, (150.3, 120.8)) for degrees in (0, 30, -100)],
        *[(2.6, degrees, (149.6, 118.1)) for degrees in (3, -30)],
        *[(1.0, 10.0, centre) for centre in ((26.0, 120.0), (150.0, 33.0), (270.0, 205.0))],
    ],
)
@pytest.mark.parametrize(("size", "template"), [((112, 112), ARCFACE), ((112, 96), ARCFACE_96)])
def test_landmarks_lie_where_the_template_has_them(
    size: tuple[int, int], template: NDArray[Any], scale: float, degrees: float, centre: tuple[float, float]
) -> None:
    """Turned, small, large, and so near to the edge that a part of the crop is beyond it: measured in the pixels."""
    points = placed(template, scale, degrees, centre)
    image = with_spots((240, 300), points, max(2.5 * scale, 0.7))
    (crop,) = align(image, faces_of(points), size)
    assert crop.shape == (*size, 3)
    for wanted in template:
        # Half a pixel is asked for; spots are found to a tenth.
        assert np.abs(centre_near(crop, wanted, 9) - wanted).max() < 0.1


@pytest.mark.parametrize(
    ("size", "template"),
    [
        (112, ARCFACE),
        ((112, 112), ARCFACE),
        ((112, 96), ARCFACE_96),
        (224, 2 * ARCFACE),
        (56, ARCFACE / 2),
        (100, ARCFACE / 1.12),
        (128, ARCFACE + np.array([8, 0])),
        (256, 2 * ARCFACE + np.array([16, 0])),
        (896, 8 * ARCFACE),
        ((224, 192), 2 * ARCFACE_96),
    ],
)
def test_arcface_for_other_sizes(rng: np.random.Generator, size: Any, template: NDArray[Any]) -> None:
    """The same pixels as with insightface's template for that size, given as points."""
    image = rng.integers(0, 256, (300, 300, 3), np.uint8)
    faces = faces_of(placed(ARCFACE, 1.3, 20, (150, 140)))
    np.testing.assert_array_equal(align(image, faces, size), align(image, faces, size, template))


def test_a_crop_is_what_warp_affine_gives(rng: np.random.Generator) -> None:
    """The recipe of insightface: Umeyama's transform, then cv2.warpAffine."""
    image = rng.integers(0, 256, (200, 300, 3), np.uint8)
    points = placed(ARCFACE, 0.9, -33, (160, 100)) + rng.normal(size=(5, 2))
    (crop,) = align(image, faces_of(points))
    expected = opencv(image, umeyama(points.astype(np.float32), ARCFACE), (112, 112))
    assert np.abs(crop - expected).max() <= GREY_LEVELS_OPENCV


def test_a_template_of_ones_own(rng: np.random.Generator) -> None:
    template = np.array([[5, 5], [25, 5], [15, 12], [8, 18], [22, 18]])
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    crops = align(image, faces_of(template + np.array([30, 20])), (24, 31), template)
    np.testing.assert_array_equal(crops, image[None, 20:44, 30:61])
    np.testing.assert_array_equal(
        align(image, faces_of(template + np.array([30, 20])), (24, 31), template.tolist()), crops
    )


def test_several_images_in_one_call(rng: np.random.Generator) -> None:
    """In the order of the images, then of their faces; an image without faces has no crops."""
    images = [rng.integers(0, 256, (100 + 20 * i, 130, 3), np.uint8) for i in range(3)]
    points = [[placed(ARCFACE, 0.5, 40 * i + j, (60, 50)) for j in range(count)] for i, count in enumerate((2, 0, 3))]
    faces = [faces_of(*each) for each in points]
    crops = align(images, faces)
    singly = [align(image, each) for image, each in zip(images, faces, strict=True)]
    np.testing.assert_array_equal(crops, np.concatenate(singly))
    assert [len(each) for each in singly] == [2, 0, 3]
    np.testing.assert_array_equal(align(np.stack([images[0]] * 2), [faces[0]] * 2), np.concatenate([singly[0]] * 2))
    assert align([], []).shape == (0, 112, 112, 3)
    assert align(images, [faces_of()] * 3, (112, 96)).shape == (0, 112, 96, 3)


def test_views_of_images(rng: np.random.Generator) -> None:
    """Reversed channels, columns and rows, and a part of an image."""
    image = rng.integers(0, 256, (120, 130, 3), np.uint8)
    faces = faces_of(placed(ARCFACE, 0.5, 40, (60, 50)))
    for view in (image[..., ::-1], image[:, ::-1], image[::-1], image[5:, 7:], image[::2, ::2], image[:, 50:51]):
        np.testing.assert_array_equal(align(view, faces), align(view.copy(), faces))


def test_images_on_a_device(cuda: Backend, rng: np.random.Generator) -> None:
    """The faces come from the host, as a detector gives them."""
    images = [rng.integers(0, 256, (100, 130, 3), np.uint8) for _ in range(2)]
    faces = [faces_of(placed(ARCFACE, 0.5, 40, (60, 50))), faces_of(placed(ARCFACE, 1.5, -4, (90, 50)))]
    there = [cuda.put(image) for image in images]
    np.testing.assert_array_equal(align(there, faces).numpy(), align(images, faces))
    np.testing.assert_array_equal(align(there[0], faces[0]).numpy(), align(images[0], faces[0]))
    assert align(there[0], faces_of()).numpy().shape == (0, 112, 112, 3)


def test_other_kinds_of_images(rng: np.random.Generator, tmp_path: Path) -> None:
    """Files are BGR; arrays keep their order of channels; Detections.align is the same for one image."""
    image = rng.integers(0, 256, (120, 130, 3), np.uint8)
    (tmp_path / "image.png").write_bytes(encoded := cv2.imencode(".png", image)[1].tobytes())
    faces = faces_of(placed(ARCFACE, 0.5, 40, (60, 50)))
    expected = align(image, faces, (112, 96))
    swapped = np.ascontiguousarray(image[..., ::-1])
    for given in (tmp_path / "image.png", str(tmp_path / "image.png"), encoded, Pillow.fromarray(swapped)):
        np.testing.assert_array_equal(align(given, faces, (112, 96)), expected)
        np.testing.assert_array_equal(faces.align(given, (112, 96)), expected)
    np.testing.assert_array_equal(align(swapped, faces, (112, 96)), expected[..., ::-1])
    np.testing.assert_array_equal(faces.align(encoded, (112, 96), color="rgb"), expected[..., ::-1])
    np.testing.assert_array_equal(align([encoded, swapped], [faces, faces])[1], align(swapped, faces)[0])
    np.testing.assert_array_equal(align(torch.from_numpy(image).permute(2, 0, 1), faces, (112, 96)), expected)


IMAGE, GOOD = np.zeros((50, 60, 3), np.uint8), faces_of(ARCFACE, ARCFACE * 0.5)
NAN = ARCFACE * np.where(np.arange(10).reshape(5, 2) == 3, np.nan, 1)
SILENT = Detections(GOOD.boxes, GOOD.scores, None)
BAD: list[tuple[tuple[Any, ...], str]] = [
    ((IMAGE, SILENT), r"faces has no landmarks, because its model has no landmark heads: crop\(\) needs none"),
    (([IMAGE], [SILENT]), r"faces\[0\] has no landmarks"),
    (
        (IMAGE, faces_of(ARCFACE, NAN)),
        "the landmarks of face 1 of faces are not finite, expected five different points",
    ),
    (
        ([IMAGE] * 2, [GOOD, faces_of(np.ones((5, 2)))]),
        r"the landmarks of face 0 of faces\[1\] coincide, expected five",
    ),
    ((IMAGE, faces_of(ARCFACE * np.inf)), "the landmarks of face 0 of faces are not finite"),
    ((IMAGE, "faces"), "faces is a str, expected Detections or a list of them"),
    ((IMAGE, None), "faces is a NoneType, expected Detections or a list of them"),
    (([IMAGE], [GOOD.landmarks]), r"faces\[0\] is a ndarray, expected Detections"),
    (([IMAGE], [GOOD, GOOD]), "image is 1 images, expected a list of 2: one for each of faces"),
    ((5, [GOOD]), "image is a int, expected a list of 1: one for each of faces"),
    ((IMAGE, GOOD, 0), "crop height is 0, expected 1 to 4096 pixels"),
    ((IMAGE, GOOD, 4097), "crop height is 4097, expected 1 to 4096 pixels"),
    ((IMAGE, GOOD, 10**400), r"size\[0\] is 10{76}\.\.\., expected an integer of at most 32 bits"),
    ((IMAGE, GOOD, (112, 100)), r"size is \(112, 100\), expected a square or the proportions of \(112, 96\)"),
    ((IMAGE, GOOD, (112, 112, 3)), r"size is \(112, 112, 3\), expected pixels: a side, or \(height, width\)"),
    ((IMAGE, GOOD, 1.5), "size is 1.5, expected pixels"),
    ((IMAGE, GOOD, ("a", "a")), r"size\[0\] is 'a', expected an integer"),
    ((IMAGE, GOOD, (112.0, 112.0)), r"size\[0\] is 112.0, expected an integer"),
    ((IMAGE, GOOD, 112, "other"), r"template is 'other', expected 'arcface' or five points \(x, y\)"),
    ((IMAGE, GOOD, 112, ARCFACE[:4]), "template has 4 points, expected 5"),
    ((IMAGE.astype(np.float32), GOOD), "image has dtype float32, expected uint8"),
    ((None, GOOD), "image is a NoneType, expected a NumPy array"),
    (([IMAGE, None], [GOOD, GOOD]), r"image\[1\] is a NoneType, expected a NumPy array"),
    (("nothing.png", GOOD), "image, the file nothing.png, cannot be read"),
    (
        (IMAGE, unchecked(GOOD.boxes, GOOD.scores, GOOD.landmarks, (60, 50))),
        r"image has 50 x 60 pixels \(height x width\), but the faces are of one of 60 x 50",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_align_refuses(arguments: tuple[Any, ...], message: str) -> None:
    """Each message says what was given and what is expected."""
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        align(*arguments)


def test_they_are_public() -> None:
    assert {"align", "crop"} <= set(engine.__all__)
