"""What is no image is refused: which one, what it is, what to do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from engine.errors import InvalidArgumentError
from engine.inputs import as_image, batches, check_color
from engine.inputs.device_arrays import from_device_array
from engine.types import Image

U8 = np.uint8
GOOD = np.full((4, 5, 3), 7, U8)


class OnDevice:
    """An array in CUDA memory, as far as its shape is looked at."""

    __cuda_array_interface__: dict[str, Any]

    def __init__(self, *shape: int) -> None:
        self.__cuda_array_interface__ = {"shape": shape}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r'dtype float32, expected uint8.*\(x \* 255\)\.round\(\)\.astype\("uint8"\)'),
        (np.zeros((4, 4, 3), np.float64), r"dtype float64.*from 0 to 255 with x\.round\(\)\.clip\(0, 255\)"),
        (np.zeros((4, 4, 3), np.uint16), r'dtype uint16.*\(x >> 8\)\.astype\("uint8"\)'),
        (np.zeros((4, 4, 3), np.int64), r'dtype int64.*x\.astype\("uint8"\)'),
        (np.zeros((4, 4, 3), bool), "dtype bool, expected uint8 with values 0 to 255$"),
        (np.array(None), "dtype object"),
        (np.array("photo.jpg"), "dtype <U9"),
        (np.zeros(4, U8), r"shape \(4,\), expected \[H, W, 3\], \[H, W, 4\].*gray"),
        (np.zeros((4, 4, 2), U8), r"shape \(4, 4, 2\)"),
        (np.zeros((4, 4, 5), U8), r"shape \(4, 4, 5\)"),
        (np.zeros((3, 4, 5), U8), r"shape \(3, 4, 5\), expected .*\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 5, 3), U8), r"shape \(2, 4, 5, 3\).*a list of its images, list\(x\)"),
        (np.zeros((0, 4, 3), U8), "no pixels"),
        (np.zeros((4, 0), U8), "no pixels"),
        (np.zeros((1, 16385, 3), U8), "sides up to 16384"),
        (np.zeros((16385, 1), U8), "sides up to 16384"),
        (torch.zeros(3, 4, 5), r"tensor of torch\.float32, expected torch\.uint8.*\(x \* 255\)\.round\(\)\.to"),
        (torch.zeros(3, 4, 5, dtype=torch.bfloat16), r"tensor of torch\.bfloat16"),
        (torch.zeros(3, 9, 3, dtype=torch.uint8), r"shape \(3, 9, 3\), which can be \[H, W, 3\] or \[3, H, W\]"),
        (torch.zeros(1, 9, 4, dtype=torch.uint8), r"shape \(1, 9, 4\), which can be \[H, W, 4\] or \[1, H, W\]"),
        (torch.zeros(2, 9, 9, dtype=torch.uint8), r"shape \(2, 9, 9\), expected"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.uint8), r"shape \(2, 3, 9, 9\).*list\(x\)"),
        (torch.zeros(3, 9, 9, dtype=torch.uint8, device="meta"), r"tensor on meta: copy it to the CPU with \.cpu\(\)"),
        (torch.zeros(9, 9, dtype=torch.uint8).to_sparse(), r"layout torch\.sparse_coo.*to_dense"),
        (OnDevice(4, 4, 3), r"array on a GPU \(OnDevice\), expected one in the CPU's memory"),
        (None, "is a NoneType, expected a NumPy array.*cv2.imread gives None"),
        (3, "is a int, expected a NumPy array"),
        ({}, "is a dict"),
        ({1}, "is a set"),
        (io.BytesIO(b""), r"is a BytesIO.*give what its read\(\) returns"),
        (memoryview(b""), "the content of a file, is not a picture that OpenCV can read"),
        (b"\x89PNG\r\n\x1a\n", "the content of a file, is not a picture"),
        ("", r"the file \.|the file , "),
        ("no such file.jpg", r"the file no such file\.jpg, cannot be read: No such file"),
        (Path("/"), "the file /, cannot be read: Is a directory"),
        ("http://example.org/a.jpg", r"the address http://example\.org/a\.jpg, expected a file: fetch it"),
        ("a\0b", r"is the path 'a\\x00b', which cannot be read"),
        ("/dev/zero", "it is a device, expected a regular file"),
        (Pillow.new("F", (4, 4)), "mode F: scale its values"),
        (Pillow.new("La", (4, 4)), "mode La that Pillow cannot convert"),
        (Pillow.new("RGB", (0, 4)), "0 x 4 pixels, expected sides of 1 to 16384"),
        (Pillow.new("L", (16385, 1)), "16385 x 1 pixels"),
        (Pillow.new("I", (4, 4), 70000), "values from 70000 to 70000, expected 16 bits"),
        (Pillow.new("I", (4, 4), -1), "values from -1 to -1"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^images\[7\]") as raised:
        as_image(image, "images[7]")
    assert raised.match(message)


def test_a_picture_that_is_cut_off_is_refused_whoever_reads_it(rng: np.random.Generator) -> None:
    file = io.BytesIO()
    Pillow.fromarray(rng.integers(0, 256, (64, 64, 3), U8)).save(file, "BMP")
    with pytest.raises(InvalidArgumentError, match=r"^image is an image of mode RGB that Pillow cannot convert"):
        as_image(Pillow.open(io.BytesIO(file.getvalue()[:3000])), "image")


@pytest.mark.parametrize("color", ["BGR", "gray", "", None, 3, ["bgr"], np.array("rgb")])
def test_other_orders_are_refused(color: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"color is .*, expected 'bgr' or 'rgb'"):
        check_color(color)


@pytest.mark.parametrize("shape", [(3, 8, 9), (8, 9), (8, 9, 4), (0, 8, 3), (1, 8, 9, 3)])
def test_arrays_on_a_gpu_have_three_channels_the_last_axis(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"images\[1\] has shape") as raised:
        from_device_array(OnDevice(*shape), "images[1]", may_copy=True)
    if shape[0] == 3:
        assert raised.match(r"of a tensor \.permute\(1, 2, 0\)\.contiguous\(\)")
    right: Any = OnDevice(8, 9, 3)
    assert from_device_array(right, "image", may_copy=True) is right
    assert as_image(right, "image", on_gpu=True) is right


def test_a_tensor_with_its_channels_first_is_copied_where_that_is_safe(rng: np.random.Generator) -> None:
    """On the CPU here: PyTorch does the same on a GPU."""
    first = torch.from_numpy(rng.integers(0, 256, (3, 8, 9), U8))
    copied: Any = from_device_array(first, "image", may_copy=True)
    assert copied.is_contiguous()
    assert np.array_equal(copied.numpy(), first.numpy().transpose(1, 2, 0))
    with pytest.raises(InvalidArgumentError, match=r"\(3, 8, 9\), expected \[H, W, 3\]: put the channels last"):
        from_device_array(first, "image", may_copy=False)


def test_several_come_in_batches_and_when_they_are_due() -> None:
    taken: list[int] = []

    def numbered() -> Iterator[Image]:
        for number in range(7):
            taken.append(number)
            yield np.full((2, 2, 3), number, U8)

    seen = []
    for batch in batches(numbered(), 3):
        seen.append([int(image[0, 0, 0]) for image in batch.images])
        assert taken == list(range(len(taken)))
        assert len(taken) == sum(map(len, seen))
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(batch.images) for batch in batches([GOOD] * 5, 2)] == [2, 2, 1]
    assert [len(batch.images) for batch in batches((GOOD,) * 2, 2)] == [2]
    assert [batch.images[0] is GOOD for batch in batches(GOOD, 2)] == [True]
    flags = [batch.converted for batch in batches([GOOD, GOOD, GOOD, Pillow.new("L", (3, 3))], 2)]
    assert flags == [False, True]


def test_the_message_says_which_one_is_wrong() -> None:
    lists: list[Any] = [[GOOD] * 5 + ["nothing.png"], iter([*[GOOD] * 5, "nothing.png"])]
    for several in lists:
        with pytest.raises(InvalidArgumentError, match=r"^images\[5\], the file nothing\.png, cannot be read"):
            list(batches(several, 2))
    with pytest.raises(InvalidArgumentError, match=r"^images\[1\] is a list"):
        list(batches([GOOD, [GOOD]], 2))  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match=r"^image is a BytesIO"):
        list(batches(io.BytesIO(b"x\ny"), 2))


@pytest.mark.parametrize("nothing", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_images_are_refused(nothing: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"images is an empty \w+, expected at least one image"):
        list(batches(nothing, 2))
