"""engine.ops.align against Umeyama's equations, exact sampling and OpenCV, on the CPU and on CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from tests.support.backends import Backend
from tests.support.oracles.align import bilinear, opencv, umeyama
from tests.support.tolerances import GREY_LEVELS_EXACT, GREY_LEVELS_OPENCV, TRANSFORM

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Size = tuple[int, int]

# A face in a crop of 112 x 112, not the template of any library.
TEMPLATE = np.array([[38, 52], [73.5, 51.5], [56, 72], [41.5, 92.5], [71, 92]], np.float32)


@dataclass(frozen=True)
class Face:
    """A face in an image: its index, centre in parts of the image's sides, size in parts of the template's, angle.

    `noise` moves each landmark, in pixels of the template.
    """

    image: int = 0
    centre: tuple[float, float] = (0.5, 0.5)
    scale: float = 1.0
    degrees: float = 0.0
    noise: float = 2.0
    mirrored: bool = False

    def landmarks(self, rng: np.random.Generator, sizes: list[Size]) -> Floats:
        """Return five points in pixels of the image."""
        height, width = sizes[self.image]
        angle = np.deg2rad(self.degrees)
        turn = self.scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (TEMPLATE - TEMPLATE.mean(axis=0) + self.noise * rng.normal(size=(5, 2))) * (
            (-1, 1) if self.mirrored else (1, 1)
        )
        centre = self.centre[0] * width, self.centre[1] * height
        return np.asarray(points @ turn.T + centre, np.float32)


# Name, sizes of the images, faces, size of the crops.
CASES: list[tuple[str, list[Size], list[Face], Size]] = [
    ("upright", [(140, 150)], [Face()], (112, 112)),
    ("turned", [(140, 150)], [Face(degrees=d) for d in (-170, -90, -31, 45, 90, 180)], (112, 112)),
    ("small and large", [(90, 160)], [Face(scale=s) for s in (0.05, 0.2, 3, 40)], (112, 96)),
    ("at the edges", [(60, 70)], [Face(centre=c, degrees=20) for c in ((0, 0), (1, 0.3), (0.4, 1), (1, 1))], (64, 50)),
    ("beside the image", [(60, 70)], [Face(centre=c) for c in ((-9, 0.5), (0.5, 900), (1e6, -1e6))], (32, 32)),
    ("mirrored", [(140, 150)], [Face(mirrored=True), Face(mirrored=True, degrees=70)], (112, 112)),
    ("unlike the template", [(140, 150)], [Face(noise=40), Face(noise=40, degrees=33)], (112, 112)),
    ("odd sizes", [(31, 45)], [Face(scale=0.3, degrees=d) for d in range(7)], (33, 35)),
    ("one pixel", [(1, 1)], [Face(scale=0.01), Face(scale=0.001)], (48, 30)),
    ("one row", [(1, 77)], [Face(scale=0.4), Face(degrees=90)], (64, 64)),
    ("one column", [(80, 1)], [Face(scale=0.4), Face(degrees=9)], (64, 64)),
    ("two by two", [(2, 2)], [Face(scale=0.02)], (64, 64)),
    ("to one pixel", [(40, 30)], [Face(), Face(scale=0.2), Face(degrees=50)], (1, 1)),
    ("to one row", [(40, 130)], [Face(), Face(degrees=5)], (1, 301)),
    ("to one column", [(140, 130)], [Face(), Face(degrees=5), Face(scale=2)], (130, 1)),
    ("three images", [(60, 80), (1, 1), (200, 31)], [Face(i) for i in (2, 0, 0, 1, 2)], (40, 41)),
    ("more images than a launch takes", [(9, 12)] * 131, [Face(i, scale=0.1) for i in (130, 0, 128, 127, 5)], (30, 31)),
    ("as many pixels as a tile, not from a word on", [(60, 70)], [Face(degrees=d) for d in range(4)], (9, 199)),
    ("no faces", [(30, 40)], [], (16, 16)),
    ("no images", [], [], (16, 16)),
]
every_case = pytest.mark.parametrize(("sizes", "faces", "size"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


def random_images(rng: np.random.Generator, sizes: list[Size]) -> list[Image]:
    """Return noise, so that any wrongly read pixel changes the result."""
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def landmarks_of(rng: np.random.Generator, faces: list[Face], sizes: list[Size]) -> tuple[Floats, NDArray[np.int32]]:
    """Return landmarks [N, 10], and the image of each face."""
    points = [face.landmarks(rng, sizes).reshape(10) for face in faces]
    return np.array(points, np.float32).reshape(-1, 10), np.array([face.image for face in faces], np.int32)


def run(
    backend: Backend, images: list[Any], landmarks: Floats, indices: Any, size: Size = (112, 112), **options: Any
) -> tuple[Image, Floats]:
    """Align on the backend and return the results on the host."""
    placed = [backend.put(image) for image in images]
    where = None if indices is None else backend.put(indices)
    options = {"template": TEMPLATE, **options}
    crops, transforms = ops.align(placed, backend.put(landmarks), where, size=size, **options)
    return backend.get(crops), backend.get(transforms)


def check(images: list[Image], landmarks: Floats, indices: Any, size: Size, found: tuple[Image, Floats]) -> None:
    """Compare all faces with the oracles."""
    crops, transforms = found
    assert crops.shape == (len(landmarks), *size, 3)
    assert transforms.shape == (len(landmarks), 2, 3)
    assert crops.dtype == np.uint8
    assert transforms.dtype == np.float32
    for points, index, crop, transform in zip(landmarks.reshape(-1, 5, 2), indices, crops, transforms, strict=True):
        matrix = umeyama(points, TEMPLATE)
        np.testing.assert_allclose(transform, matrix, rtol=TRANSFORM, atol=TRANSFORM)
        for sample, tolerance in [(bilinear, GREY_LEVELS_EXACT), (opencv, GREY_LEVELS_OPENCV)]:
            np.testing.assert_allclose(crop, sample(images[index], matrix, size), atol=tolerance, rtol=0)


@every_case
def test_align_matches_the_oracles(
    backend: Backend, rng: np.random.Generator, sizes: list[Size], faces: list[Face], size: Size
) -> None:
    """Within the fixed-point error of the exact value and one level of cv2.warpAffine."""
    images = random_images(rng, sizes)
    landmarks, indices = landmarks_of(rng, faces, sizes)
    check(images, landmarks, indices, size, run(backend, list(images), landmarks, indices, size))


@every_case
def test_align_gives_the_same_bits_on_both(
    cuda: Backend, rng: np.random.Generator, sizes: list[Size], faces: list[Face], size: Size
) -> None:
    images = random_images(rng, sizes)
    landmarks, indices = landmarks_of(rng, faces, sizes)
    on_cpu = run(Backend("cpu"), list(images), landmarks, indices, size)
    on_cuda = run(cuda, list(images), landmarks, indices, size)
    np.testing.assert_array_equal(on_cuda[0], on_cpu[0])
    np.testing.assert_array_equal(on_cuda[1].view(np.uint32), on_cpu[1].view(np.uint32))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_align_on_any_threads_gives_the_same_bits(rng: np.random.Generator, threads: int) -> None:
    """Also where threads share a face."""
    sizes, faces = [(300, 200)], [Face(degrees=d) for d in range(5)]
    images = random_images(rng, sizes)
    landmarks, _ = landmarks_of(rng, faces, sizes)
    size = (400, 500)
    expected = run(Backend("cpu"), list(images), landmarks, None, size)
    for mine, theirs in zip(run(Backend("cpu"), list(images), landmarks, None, size, threads=threads), expected,
                            strict=True):  # fmt: skip
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("size", [(112, 112), (113, 131)])
def test_align_of_landmarks_that_lie_as_the_template_cuts_out_the_image(
    backend: Backend, rng: np.random.Generator, size: Size
) -> None:
    """Moved by whole pixels: no level changes, and each pixel of the crop is the image's or 0."""
    image = random_images(rng, [(200, 300)])[0]
    landmarks = (TEMPLATE + np.array([250, 120])).reshape(1, 10).astype(np.float32)
    crops, transforms = run(backend, [image], landmarks, None, size)
    expected = np.zeros((*size, 3), np.uint8)
    inside = image[120 : 120 + size[0], 250 : 250 + size[1]]
    expected[: inside.shape[0], : inside.shape[1]] = inside
    np.testing.assert_array_equal(crops[0], expected)
    np.testing.assert_array_equal(transforms[0], [[1, 0, -250], [0, 1, -120]])


def test_align_turns_by_a_quarter(backend: Backend, rng: np.random.Generator) -> None:
    """Hand-worked: x of the image is y of the crop."""
    image = random_images(rng, [(112, 112)])[0]
    landmarks = np.stack([TEMPLATE[:, 1], 111 - TEMPLATE[:, 0]], axis=1).reshape(1, 10)
    crops, _ = run(backend, [image], np.ascontiguousarray(landmarks), None)
    np.testing.assert_array_equal(crops[0], np.rot90(image, -1))


NAN, INFINITE = float("nan"), float("inf")
UNUSABLE: dict[str, Any] = {
    "coincide": np.tile([20, 30], 5),
    "coincide at a third": np.tile([1 / 3, 1e7 / 3], 5),
    "all zero": np.zeros(10),
    "one NaN": np.where(np.arange(10) == 7, NAN, np.arange(10)),
    "all NaN": np.full(10, NAN),
    "one infinity": np.where(np.arange(10) == 2, INFINITE, np.arange(10)),
    "minus infinity": np.full(10, -INFINITE),
    # So large that they do not coincide when they are rounded there.
    "far to the right": (1000 * TEMPLATE + np.array([2e9, 0])).reshape(10),
    "far above": (1000 * TEMPLATE - np.array([0, 2e9])).reshape(10),
    "largest": TEMPLATE.reshape(10) * 1e36,
    "smallest": TEMPLATE.reshape(10) * 1e-43,
    "too large": TEMPLATE.reshape(10) * 16500,
    "too large, lying": (TEMPLATE[:, ::-1] * (-16500, 16500)).reshape(10),
    "too small": TEMPLATE.reshape(10) / 2**20.5,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_align_of_unusable_landmarks_is_zero(backend: Backend, rng: np.random.Generator, name: str) -> None:
    """And does not disturb the faces beside it."""
    image = random_images(rng, [(50, 60)])[0]
    good = Face(scale=0.3).landmarks(rng, [(50, 60)]).reshape(10)
    landmarks = np.stack([good, UNUSABLE[name], good]).astype(np.float32)
    crops, transforms = run(backend, [image], landmarks, None, (33, 35))
    assert not crops[1].any()
    assert not transforms[1].any()
    check([image], landmarks[::2], [0, 0], (33, 35), (crops[::2], transforms[::2]))


@pytest.mark.parametrize("factor", [16000, 2**-19.5], ids=["large", "small"])
def test_align_of_landmarks_just_inside_the_limits(backend: Backend, rng: np.random.Generator, factor: float) -> None:
    image = random_images(rng, [(50, 60)])[0]
    landmarks = ((TEMPLATE - TEMPLATE[2]) * factor + (30, 20)).reshape(1, 10).astype(np.float32)
    crops, transforms = run(backend, [image], landmarks, None)
    check([image], landmarks, [0], (112, 112), (crops, transforms))
    assert crops.any()


@pytest.mark.parametrize("upright", [False, True], ids=["row", "column"])
def test_align_of_the_longest_images_to_the_longest_crops(
    backend: Backend, rng: np.random.Generator, upright: bool
) -> None:
    """Positions do not overflow."""
    image = random_images(rng, [(16384, 1) if upright else (1, 16384)])[0]
    size = (4096, 1) if upright else (1, 4096)
    landmarks = (TEMPLATE * 4).reshape(1, 10)
    check([image], landmarks, [0], size, run(backend, [image], landmarks, None, size))


def test_align_of_faces_without_an_image_is_zero_on_a_device(cuda: Backend, rng: np.random.Generator) -> None:
    """Each launch leaves other launches' faces alone; the first one takes those of none."""
    sizes = [(9, 12)] * 131
    images = random_images(rng, sizes)
    landmarks, indices = landmarks_of(rng, [Face(i, scale=0.1) for i in (0, 130, 0, 129, 3, 3)], sizes)
    given = indices.copy()
    given[[0, 2, 4]] = (-1, 131, 2**31 - 1)
    crops, transforms = run(cuda, list(images), landmarks, given, (30, 31))
    assert not crops[[0, 2, 4]].any()
    assert not transforms[[0, 2, 4]].any()
    check(images, landmarks[1::2], indices[1::2], (30, 31), (crops[1::2], transforms[1::2]))


def test_align_takes_crops_without_a_copy(backend: Backend, rng: np.random.Generator) -> None:
    """Rows may have a pitch; pixels outside of the crop are not read."""
    image = random_images(rng, [(90, 120)])[0]
    part = image[11:70, 5:64]
    landmarks, _ = landmarks_of(rng, [Face(degrees=10)], [(59, 59)])
    expected = run(Backend("cpu"), [part.copy()], landmarks, None)
    if backend.name == "cpu":
        placed: Any = part
    else:
        whole = backend.put(image)
        interface = {**whole.__cuda_array_interface__, "shape": (59, 59, 3), "strides": (360, 3, 1)}
        interface["data"] = (whole.ptr + 11 * 360 + 5 * 3, False)
        placed = type("Part", (), {"__cuda_array_interface__": interface})()
    crops, _ = ops.align(placed, backend.put(landmarks), template=TEMPLATE, size=(112, 112))
    np.testing.assert_array_equal(backend.get(crops), expected[0])


def test_align_copies_landmarks_of_numpy_to_the_device(cuda: Backend, rng: np.random.Generator) -> None:
    """As a detector gives them, which finds faces in images on a device."""
    sizes = [(60, 70), (50, 40)]
    images = random_images(rng, sizes)
    landmarks, indices = landmarks_of(rng, [Face(1), Face(0), Face(1, degrees=30)], sizes)
    placed = [cuda.put(image) for image in images]
    crops, transforms = ops.align(placed, landmarks, indices, template=TEMPLATE, size=(40, 30))
    check(images, landmarks, indices, (40, 30), (crops.numpy(), transforms.numpy()))
    with pytest.raises(InvalidArgumentError, match=r"^landmarks has shape \[3, 9\], expected \[3, 10\]"):
        ops.align(placed, np.ascontiguousarray(landmarks[:, :9]), indices, template=TEMPLATE, size=(40, 30))
    with pytest.raises(InvalidArgumentError, match=r"^landmarks .*expected"):
        ops.align(images, cuda.put(landmarks), indices, template=TEMPLATE, size=(40, 30))


IMAGE, LANDMARKS = np.zeros((4, 6, 3), np.uint8), TEMPLATE.reshape(1, 10)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"size": (0, 8)}, "crop height is 0, expected 1 to 4096 pixels"),
    ({"size": (8, 4097)}, "crop width is 4097, expected 1 to 4096 pixels"),
    ({"size": 112}, "size is 112, expected a height and a width"),
    ({"template": TEMPLATE[:4]}, "template has 4 points, expected 5"),
    ({"template": np.zeros((5, 3))}, r"template\[0\] has 3 values, expected 2: x and y"),
    ({"template": np.ones((5, 2))}, "template is one point five times, expected five different points"),
    (
        {"template": [[0, 1], [2, float("inf")], [4, 5], [6, 7], [8, 9]]},
        r"template\[1\]\[1\] is inf, expected a finite",
    ),
    ({"landmarks": LANDMARKS[0]}, r"landmarks has shape \[10\], expected \[N, 10\]"),
    ({"landmarks": LANDMARKS[:, :8]}, r"landmarks has shape \[1, 8\], expected \[1, 10\]"),
    ({"landmarks": LANDMARKS.astype(np.float64)}, "landmarks has dtype float64, "),
    ({"images": [IMAGE, IMAGE]}, "image_indices is None, expected the image of each face, because images has 2 images"),
    ({"images": []}, "images has no images, expected those of 1 faces"),
    ({"image_indices": np.array([1], np.int32)}, r"image_indices\[0\] is 1, expected the index of one of 1 images"),
    ({"image_indices": np.array([-1], np.int32)}, r"image_indices\[0\] is -1, expected the index of one of 1 images"),
    ({"image_indices": np.array([0, 0], np.int32)}, r"image_indices has shape \[2\], expected \[1\]"),
    ({"threads": -1}, "threads is -1, expected at least 0"),
    ({"images": IMAGE.astype(np.float32)}, r"images\[0\] has dtype float32, expected uint8"),
    ({"images": IMAGE[:0]}, r"images\[0\] has 0 rows and 6 columns, expected 1 to 16384 of each"),
]


@pytest.mark.parametrize(("changed", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_align_refuses(changed: dict[str, Any], message: str) -> None:
    """Each message names the argument, what was given and what is expected."""
    given: dict[str, Any] = {"images": IMAGE, "landmarks": LANDMARKS, "template": TEMPLATE, "size": (8, 8)}
    with pytest.raises(InvalidArgumentError, match=f"^{message}"):
        ops.align(**{**given, **changed})
