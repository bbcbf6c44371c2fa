"""engine.ops.letterbox against exact bilinear interpolation and OpenCV, on the CPU and on CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from tests.support.backends import Backend
from tests.support.oracles.letterbox import bilinear, letterbox, opencv, placement, unletterbox
from tests.support.tolerances import GREY_LEVELS_EXACT, GREY_LEVELS_OPENCV, UNLETTERBOX_RELATIVE

Image = NDArray[np.uint8]
Size = tuple[int, int]

# Name, sizes of a batch's images, size of the result.
CASES: list[tuple[str, list[Size], Size]] = [
    ("half", [(128, 256)], (64, 128)),
    ("same size", [(37, 53)], (37, 53)),
    ("down, wide", [(270, 480)], (128, 128)),
    ("down, tall", [(411, 123)], (160, 96)),
    ("up", [(17, 23)], (128, 96)),
    ("odd padding", [(50, 33)], (65, 64)),
    ("one pixel", [(1, 1)], (32, 48)),
    ("to one pixel", [(40, 30)], (1, 1)),
    ("one row", [(1, 77)], (64, 64)),
    ("one column", [(300, 1)], (64, 64)),
    ("thinner than a pixel", [(2, 2000)], (64, 64)),
    ("different sizes", [(60, 80), (1, 1), (200, 31)], (64, 64)),
    ("no images", [], (16, 16)),
    ("far down", [(1080, 1920)], (64, 64)),
]
MEAN, STD, PAD = (104.0, 117.5, 123.0), (1.0, 57.0, 2.0), (5, 0, 255)


def random_images(rng: np.random.Generator, sizes: list[Size]) -> list[Image]:
    """Return noise, so that any wrongly read pixel changes the result."""
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def levels_of(batch: NDArray[Any]) -> NDArray[np.float64]:
    """Undo the normalisation: return grey levels, integers up to rounding."""
    shape = (1, 3, 1, 1)
    return np.asarray(batch.astype(np.float64) * np.reshape(STD, shape) + np.reshape(MEAN, shape))


def run(backend: Backend, images: list[Any], size: Size, **options: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Letterbox on the backend and return the results on the host."""
    placed = [backend.put(image) for image in images]
    batch, transforms = ops.letterbox(placed, size, mean=MEAN, std=STD, pad_value=PAD, **options)
    return backend.get(batch), backend.get(transforms)


@pytest.mark.parametrize("swap_rb", [False, True], ids=["as given", "swapped"])
@pytest.mark.parametrize(("sizes", "size"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_letterbox_matches_the_oracles(
    backend: Backend, rng: np.random.Generator, sizes: list[Size], size: Size, swap_rb: bool
) -> None:
    """Within the fixed-point error of the exact value and one level of cv2.resize; transforms exactly."""
    images = random_images(rng, sizes)
    batch, transforms = run(backend, images, size, swap_rb=swap_rb)
    assert batch.shape == (len(images), 3, *size)
    assert transforms.shape == (len(images), 3)
    assert batch.dtype == transforms.dtype == np.float32
    levels = levels_of(batch)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    for i, image in enumerate(images):
        scale, _, (left, top) = placement(image.shape[0], image.shape[1], size)
        np.testing.assert_allclose(transforms[i], [scale, left, top], rtol=1e-7)
        for resize, tolerance in [(bilinear, GREY_LEVELS_EXACT), (opencv, GREY_LEVELS_OPENCV)]:
            expected = letterbox(image, size, PAD, swap_rb, resize)
            np.testing.assert_allclose(np.round(levels[i]), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("sizes", "size"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_letterbox_gives_the_same_bits_on_both(
    cuda: Backend, rng: np.random.Generator, sizes: list[Size], size: Size
) -> None:
    """CPU and CUDA agree to the last bit."""
    images = random_images(rng, sizes)
    on_cpu = run(Backend("cpu"), list(images), size)
    for dtype in ("float32", "float16"):
        batch, transforms = run(cuda, list(images), size, dtype=dtype)
        np.testing.assert_array_equal(batch, on_cpu[0].astype(dtype))
        np.testing.assert_array_equal(transforms, on_cpu[1])


def test_letterbox_normalises_per_output_channel(backend: Backend) -> None:
    """Mean, std and padding are in the order of the result's channels, also with swap_rb."""
    image = np.tile(np.array([10, 20, 30], np.uint8), (2, 4, 1))
    batch, transforms = run(backend, [image], (4, 4), swap_rb=True)
    inside = [(30 - 104) / 1, (20 - 117.5) / 57, (10 - 123) / 2]
    padding = [(5 - 104) / 1, (0 - 117.5) / 57, (255 - 123) / 2]
    for c in range(3):
        np.testing.assert_allclose(batch[0, c, 1:3], inside[c], rtol=1e-6)
        np.testing.assert_allclose(batch[0, c, [0, 3]], padding[c], rtol=1e-6)
    assert transforms.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("swap_rb", [False, True], ids=["as given", "swapped"])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_letterbox_with_channels_last_and_on_any_threads_gives_the_same_bits(
    rng: np.random.Generator, threads: int, swap_rb: bool
) -> None:
    for _, sizes, size in CASES:
        images = random_images(rng, sizes)
        expected, _ = run(Backend("cpu"), images, size, swap_rb=swap_rb)
        batch, _ = run(Backend("cpu"), images, size, swap_rb=swap_rb, threads=threads, channels_last=True)
        assert batch.shape == (len(images), *size, 3)
        np.testing.assert_array_equal(batch.transpose(0, 3, 1, 2), expected)


def test_letterbox_refuses_impossible_threads_and_channels_last_on_a_device(cuda: Backend) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InvalidArgumentError, match="threads is -1, expected at least 0"):
        ops.letterbox(image, (4, 4), mean=0, threads=-1)
    with pytest.raises(InvalidArgumentError, match="channels_last is for host arrays"):
        ops.letterbox(cuda.put(image), (4, 4), mean=0, channels_last=True)


def test_letterbox_puts_the_odd_pixel_right_and_below(backend: Backend) -> None:
    """Three columns of padding: one left and two right."""
    batch, transforms = run(backend, [np.full((6, 3, 3), 200, np.uint8)], (6, 6))
    assert transforms.tolist() == [[1, 1, 0]]
    columns = levels_of(batch)[0, 0, 0].round().tolist()
    assert columns == [5, 200, 200, 200, 5, 5]


def test_letterbox_takes_crops_without_a_copy(rng: np.random.Generator) -> None:
    """Rows may have a pitch; pixels outside the crop do not affect the result."""
    image = random_images(rng, [(90, 120)])[0]
    crop = image[11:70, 5:64]
    cpu = Backend("cpu")
    np.testing.assert_array_equal(run(cpu, [crop], (48, 64))[0], run(cpu, [crop.copy()], (48, 64))[0])


def test_letterbox_takes_one_image_a_list_or_a_batch(rng: np.random.Generator) -> None:
    """All give the same result."""
    images = random_images(rng, [(20, 30), (20, 30)])
    both = ops.letterbox(images, (16, 16), mean=0).batch
    np.testing.assert_array_equal(ops.letterbox(np.stack(images), (16, 16), mean=0).batch, both)
    np.testing.assert_array_equal(ops.letterbox(images[0], (16, 16), mean=0).batch, both[:1])


def test_letterbox_to_float16_on_the_cpu(rng: np.random.Generator) -> None:
    """The float32 result, rounded once."""
    images = random_images(rng, [(20, 30)])
    batch, _ = run(Backend("cpu"), list(images), (16, 16), dtype="float16")
    assert batch.dtype == np.float16
    np.testing.assert_array_equal(batch, run(Backend("cpu"), list(images), (16, 16))[0].astype(np.float16))


def test_letterbox_takes_crops_on_a_device(cuda: Backend, rng: np.random.Generator) -> None:
    """Rows with a pitch, through __cuda_array_interface__."""
    image = random_images(rng, [(90, 120)])[0]
    placed = cuda.put(image)
    interface = {**placed.__cuda_array_interface__, "shape": (59, 60, 3), "strides": (360, 3, 1)}
    interface["data"] = (placed.ptr + 11 * 360 + 5 * 3, False)
    crop = type("Crop", (), {"__cuda_array_interface__": interface})()
    batch, _ = ops.letterbox(crop, (48, 64), mean=MEAN, std=STD, pad_value=PAD)
    np.testing.assert_array_equal(batch.numpy(), run(Backend("cpu"), [image[11:70, 5:65]], (48, 64))[0])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_letterbox_writes_to_given_arrays(backend: Backend, rng: np.random.Generator, dtype: str) -> None:
    """Writes every element of the given arrays, and returns these arrays."""
    images = random_images(rng, [(20, 30), (7, 5)])
    if backend.name == "cpu" and dtype == "float16":
        with pytest.raises(InvalidArgumentError, match="dtype is 'float16', expected 'float32' where out is a host"):
            run(backend, list(images), (16, 16), dtype=dtype, out=(np.zeros(1), np.zeros(1)))
        return
    out = backend.put(np.full((2, 3, 16, 16), np.nan, dtype)), backend.put(np.full((2, 3), np.nan, np.float32))
    placed = [backend.put(image) for image in images]
    results = ops.letterbox(placed, (16, 16), mean=MEAN, std=STD, pad_value=PAD, dtype=dtype, out=out)
    assert results.batch is out[0]
    assert results.transforms is out[1]
    expected = run(backend, list(images), (16, 16), dtype=dtype)
    np.testing.assert_array_equal(backend.get(out[0]), expected[0])
    np.testing.assert_array_equal(backend.get(out[1]), expected[1])


def test_letterbox_refuses_wrong_output_arrays() -> None:
    """Wrong shape, wrong dtype, read-only."""
    good = np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3), np.float32)
    fixed = good[1].copy()
    fixed.flags.writeable = False
    for out, message in [
        ((good[0][:, :2], good[1]), r"out\[0\] has shape \[1, 2, 8, 8\], expected \[1, 3, 8, 8\]"),
        ((good[0].astype(np.float16), good[1]), r"out\[0\] has dtype float16, expected float32"),
        ((good[0], fixed), r"out\[1\] is read-only, expected an array to write to"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            ops.letterbox(IMAGE, (8, 8), mean=0, out=out)


def random_detections(rng: np.random.Generator, batch: int, slots: int, points: int = 5) -> list[NDArray[Any]]:
    """Return boxes, landmarks and counts, which include 0 and all slots."""
    boxes, landmarks = (rng.uniform(-50, 700, (batch, slots, width)).astype(np.float32) for width in (4, 2 * points))
    count = rng.integers(0, slots + 1, batch).astype(np.int32)
    count[: min(2, batch)] = (slots, 0)[: min(2, batch)]
    return [boxes, landmarks, count]


@pytest.mark.parametrize("enlarge", [False, True], ids=["", "enlarge"])
@pytest.mark.parametrize(
    ("batch", "slots", "points"),
    [*[(batch, slots, 5) for batch, slots in ((1, 1), (3, 7), (67, 40), (2, 0), (0, 5))], (67, 7, 1), (3, 5, 512)],
)
def test_unletterbox_matches_the_oracle(
    backend: Backend, rng: np.random.Generator, batch: int, slots: int, points: int, enlarge: bool
) -> None:
    """Each axis has its own factor; zeros after the detections. 67 images are more than one launch takes."""
    size = (640, 513)
    sizes = [(int(height), int(width)) for height, width in np.exp(rng.uniform(0, np.log(16385), (batch, 2)))]
    boxes, landmarks, count = random_detections(rng, batch, slots, points)
    placed = [backend.put(array) for array in (boxes, landmarks, count)]
    back = ops.unletterbox(placed[0], placed[1], placed[2], sizes, size, enlarge=enlarge)
    results = [backend.get(array) for array in back]
    on_cpu = ops.unletterbox(boxes, landmarks, count, sizes, size, enlarge=enlarge)
    for given, result, same in zip((boxes, landmarks), results, on_cpu, strict=True):
        np.testing.assert_array_equal(result, same)
        for i in range(batch):
            expected = unletterbox(given[i], sizes[i], size, enlarge)
            expected[count[i] :] = 0
            np.testing.assert_allclose(result[i], expected, rtol=UNLETTERBOX_RELATIVE)
    assert ops.unletterbox(placed[0], None, placed[2], sizes, size)[1] is None


@pytest.mark.parametrize("image_size", [(720, 1280), (333, 1000), (1000, 3), (16384, 16384), (1, 1)])
def test_unletterbox_undoes_letterbox(image_size: Size) -> None:
    """The corners of the resized image map to those of the image."""
    size = (640, 640)
    _, (height, width), (left, top) = placement(*image_size, size)
    corners = np.array([[[left, top, left + width, top + height]]], np.float32)
    back, _ = ops.unletterbox(corners, None, np.array([1], np.int32), [image_size], size)
    np.testing.assert_allclose(back[0, 0], [0, 0, image_size[1], image_size[0]], rtol=UNLETTERBOX_RELATIVE)


BOXES, LANDMARKS, COUNT = np.zeros((2, 5, 4), np.float32), np.zeros((2, 5, 10), np.float32), np.zeros(2, np.int32)
SIZES = [(30, 40), (50, 60)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"boxes": BOXES[0]}, r"boxes has shape \[5, 4\], expected \[N, M, 4\]"),
        ({"landmarks": LANDMARKS[:, :3]}, r"landmarks has shape \[2, 3, 10\], expected \[2, 5, 10\]"),
        ({"landmarks": LANDMARKS[0]}, r"landmarks has shape \[5, 10\], expected \[N, M, 2 L\], x and y of L points"),
        ({"landmarks": LANDMARKS[..., :9].copy()}, "landmarks has 9 values of each face, expected an even number"),
        ({"landmarks": LANDMARKS[..., :0].copy()}, "landmarks has 0 values of each face, expected an even number"),
        (
            {"landmarks": np.zeros((2, 5, 1026), "f4")},
            "landmarks has 1026 values of each face, expected .* 2 to 1024",
        ),
        ({"count": COUNT[:1]}, r"count has shape \[1\], expected \[2\]"),
        ({"boxes": BOXES.astype(np.float16)}, "boxes has dtype float16, expected float32"),
        ({"image_sizes": SIZES[:1]}, "image_sizes has 1 entries, expected 2, one for each image of boxes"),
        ({"image_sizes": [(30, 40), (0, 60)]}, r"image_sizes\[1\] is \(0, 60\), expected 1 to 16384 pixels each"),
        ({"image_sizes": [(30, 16385), (1, 1)]}, r"image_sizes\[0\] is \(30, 16385\), expected 1 to 16384 pixels"),
        ({"size": (0, 0)}, "output height is 0, expected 1 to 16384 pixels"),
        ({"size": (8, -1)}, "output width is -1, expected 1 to 16384 pixels"),
    ],
)
def test_unletterbox_refuses(changed: dict[str, Any], message: str) -> None:
    """Each message names the argument, what was given and what is expected."""
    given = {"boxes": BOXES, "landmarks": LANDMARKS, "count": COUNT, "image_sizes": SIZES, "size": (8, 8)}
    with pytest.raises(InvalidArgumentError, match=message):
        ops.unletterbox(**{**given, **changed})


IMAGE = np.zeros((4, 6, 3), np.uint8)
BAD: list[tuple[Any, dict[str, Any], str]] = [
    (IMAGE, {"size": (0, 8)}, r"output height is 0, expected 1 to 16384 pixels"),
    (IMAGE, {"size": (8, 16385)}, r"output width is 16385, expected 1 to 16384 pixels"),
    (IMAGE, {"mean": (1, 2)}, r"mean has 2 values, expected one or 3"),
    (IMAGE, {"mean": float("nan")}, r"mean\[0\] is nan, expected a finite number"),
    (IMAGE, {"std": (1, 0, 1)}, r"std\[1\] is 0, expected a finite number above 0"),
    (IMAGE, {"pad_value": 256}, r"pad_value is 256, expected whole grey levels from 0 to 255"),
    (IMAGE, {"pad_value": (0, 0.5, 0)}, r"pad_value is \(0, 0.5, 0\), expected whole grey levels from 0 to 255"),
    (IMAGE, {"dtype": "int8"}, r"dtype is 'int8', expected 'float32' or 'float16'"),
    (IMAGE.astype(np.float32), {}, r"images\[0\] has dtype float32, expected uint8"),
    (IMAGE[..., :2], {}, r"images\[0\] has shape \[4, 6, 2\], expected \[4, 6, 3\]"),
    ([IMAGE, IMAGE[..., 0]], {}, r"images\[1\] has shape \[4, 6\], expected \[height, width, 3\]"),
    (IMAGE[:0], {}, r"images\[0\] has 0 rows and 6 columns, expected 1 to 16384 of each"),
    (np.zeros((16385, 1, 3), np.uint8), {}, r"images\[0\] has 16385 rows and 1 columns, expected 1 to 16384"),
    (IMAGE[:, ::2], {}, r"images\[0\] has strides \[18, 6, 1\] bytes, expected rows of adjacent pixels"),
    (IMAGE[..., ::-1], {}, r"images\[0\] has strides \[18, 3, -1\] bytes, expected rows of adjacent pixels"),
    (IMAGE[::-1], {}, r"images\[0\] has rows -18 bytes apart, expected at least 18"),
    ([None], {}, r"images\[0\] is a NoneType, expected a NumPy array or a device array"),
]


@pytest.mark.parametrize(("images", "options", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_letterbox_refuses(images: Any, options: dict[str, Any], message: str) -> None:
    """Each message names the argument, what was given and what is expected."""
    given: dict[str, Any] = {"size": (8, 8), "mean": 0, **options}
    with pytest.raises(InvalidArgumentError, match=message):
        ops.letterbox(images, **given)


@pytest.mark.parametrize(("height", "width"), [(4, 3), (6, 6), (5, 9), (1, 1), (30, 7)])
def test_letterbox_enlarges_only_where_asked(
    backend: Backend, rng: np.random.Generator, height: int, width: int
) -> None:
    """Without `enlarge` a smaller image keeps its size; a larger one still shrinks."""
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    batch, transforms = run(backend, [image], (8, 8), enlarge=False)
    scale, (resized_height, resized_width), (left, top) = placement(height, width, (8, 8), enlarge=False)
    np.testing.assert_allclose(transforms[0], [scale, left, top], rtol=1e-7)
    inside = levels_of(batch)[0, :, top : top + resized_height, left : left + resized_width].transpose(1, 2, 0)
    np.testing.assert_allclose(inside.round(), opencv(image, resized_height, resized_width), atol=1)
