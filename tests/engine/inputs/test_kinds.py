"""Every kind of image gives the pixels of the same picture as a BGR array."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageOps

from engine.inputs import as_image
from engine.types import Color, Image


@pytest.fixture
def picture(rng: np.random.Generator) -> Image:
    """BGR, with sides that no axis of channels has."""
    return rng.integers(0, 256, (37, 53, 3), np.uint8)


def gray_of(picture: Image) -> Image:
    return np.ascontiguousarray(picture[..., 1])


def as_bgr(gray: Image) -> Image:
    return np.repeat(gray[..., None], 3, axis=2)


def encoded(picture: Image, suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, picture)[1])


def pillow_of(picture: Image, mode: str = "RGB") -> Any:
    return Pillow.fromarray(np.ascontiguousarray(picture[..., ::-1])).convert(mode)


def with_alpha(picture: Image) -> Image:
    return np.dstack([picture, gray_of(picture)])


# Of arrays the order of the channels is said; the others know their own.
ARRAYS: dict[str, Callable[[Image], Any]] = {
    "three channels": lambda picture: picture,
    "a view": lambda picture: np.pad(picture, ((3, 3), (1, 2), (0, 0)))[3:-3, 1:-2],
    "mirrored twice": lambda picture: np.ascontiguousarray(picture[::-1, ::-1])[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "four channels": with_alpha,
    "a view of four channels": lambda picture: np.dstack([with_alpha(picture)] * 2)[..., :4],
    "tensor [H, W, 3]": torch.from_numpy,
    "tensor [3, H, W]": lambda picture: torch.from_numpy(picture).permute(2, 0, 1).contiguous(),
    "tensor [4, H, W]": lambda picture: torch.from_numpy(with_alpha(picture)).permute(2, 0, 1),
    "tensor, every other pixel": lambda picture: torch.from_numpy(picture.repeat(2, 0).repeat(2, 1))[::2, ::2],
}
GRAY: dict[str, Callable[[Image], Any]] = {
    "[H, W]": lambda gray: gray,
    "[H, W, 1]": lambda gray: gray[..., None],
    "a view": lambda gray: np.pad(gray, 2)[2:-2, 2:-2],
    "tensor [H, W]": torch.from_numpy,
    "tensor [1, H, W]": lambda gray: torch.from_numpy(gray)[None],
    "tensor [H, W, 1]": lambda gray: torch.from_numpy(gray)[..., None],
    "Pillow L": Pillow.fromarray,
    "a gray file": lambda gray: encoded(gray),
}
OTHERS: dict[str, Callable[[Image], Any]] = {
    "bytes": encoded,
    "bytearray": lambda picture: bytearray(encoded(picture)),
    "memoryview": lambda picture: memoryview(encoded(picture)),
    "every other byte": lambda picture: memoryview(np.frombuffer(encoded(picture), np.uint8).repeat(2).tobytes())[::2],
    "bytes of BMP": lambda picture: encoded(picture, ".bmp"),
    "bytes with an alpha channel": lambda picture: encoded(with_alpha(picture)),
    "Pillow RGB": pillow_of,
    "Pillow RGBA": lambda picture: pillow_of(picture, "RGBA"),
    "Pillow, a file not yet read": lambda picture: Pillow.open(io.BytesIO(encoded(picture))),
}


@pytest.mark.parametrize("to", ["bgr", "rgb"])
@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(picture: Image, kind: str, color: Color, to: Color) -> None:
    given = ARRAYS[kind](picture if color == "bgr" else np.ascontiguousarray(picture[..., ::-1]))
    result = as_image(given, "image", color=color, to=to)
    assert np.array_equal(result, picture if to == "bgr" else picture[..., ::-1])
    assert result.flags.c_contiguous


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("kind", GRAY)
def test_gray_images(picture: Image, kind: str, color: Color) -> None:
    gray = gray_of(picture)
    result = as_image(GRAY[kind](gray), "image", color=color, to="bgr")
    assert np.array_equal(result, as_bgr(gray))
    assert result.flags.c_contiguous


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_knows_its_colours(picture: Image, kind: str, color: Color) -> None:
    for to, expected in (("bgr", picture), ("rgb", picture[..., ::-1])):
        result = as_image(OTHERS[kind](picture), "image", color=color, to=to)  # type: ignore[arg-type]
        assert np.array_equal(result, expected)
        assert result.flags.c_contiguous


@pytest.mark.parametrize("kind", [str, Path, lambda path: os.fsdecode(os.fsencode(path))])
def test_paths(picture: Image, tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture))
    assert np.array_equal(as_image(kind(path), "image"), picture)


def test_most_images_are_not_copied(picture: Image) -> None:
    assert as_image(picture, "image") is picture
    assert as_image(picture, "image", color="rgb", to="rgb") is picture
    assert np.shares_memory(as_image(torch.from_numpy(picture), "image"), picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "PA", "LA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_modes_of_pillow_are_what_pillow_makes_of_them(picture: Image, mode: str) -> None:
    image = pillow_of(picture, "LA" if mode == "PA" else mode)
    image = image.convert(mode)
    assert image.mode == mode
    assert np.array_equal(as_image(image, "image"), np.asarray(image.convert("RGB"))[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_those_of_files(picture: Image, orientation: int) -> None:
    """OpenCV turns files by itself: an independent reading of the tag."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    pillow_of(picture).save(file, "PNG", exif=exif.tobytes())
    turned = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    assert turned is not None
    assert (turned.shape != picture.shape) == (orientation > 4)
    assert np.array_equal(as_image(Pillow.open(file), "image"), turned)
    assert np.array_equal(as_image(file.getvalue(), "image"), turned)
    assert ImageOps.exif_transpose(Pillow.open(file)).getexif().get(0x0112, 1) == 1


def animated(kind: Literal["GIF", "PNG", "WEBP", "TIFF", "AVIF"], count: int, rng: np.random.Generator) -> bytes:
    frames = [Pillow.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(count)]
    file = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **lossless)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_an_animated_picture_the_first_frame_is_taken_and_the_others_are_counted(
    kind: Any, rng: np.random.Generator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = animated(kind, 5, rng)
    path = tmp_path / "moving"
    path.write_bytes(content)
    first = np.asarray(Pillow.open(io.BytesIO(content)).convert("RGB"))[..., ::-1]
    named: list[tuple[Any, str]] = [(path, str(path)), (content, "images[3]"), (Pillow.open(path), "images[3]")]
    for given, name in named:
        caplog.clear()
        found = as_image(given, "images[3]")
        assert [record.getMessage() for record in caplog.records] == [
            f"{name} has 5 frames or pages: only the first is used."
        ]
        # Decoders of AVIF differ by a few levels.
        assert np.abs(found.astype(int) - first).max() <= (12 if kind == "AVIF" else 0)
    for still in (animated(kind, 1, rng), encoded(first)):
        caplog.clear()
        as_image(still, "image"), as_image(Pillow.open(io.BytesIO(still)), "image")
        assert not caplog.records


def test_another_frame_that_was_chosen_is_taken_without_a_warning(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    image = Pillow.open(io.BytesIO(animated("PNG", 3, rng)))
    image.seek(1)
    expected = np.asarray(image.convert("RGB"))[..., ::-1]
    assert np.array_equal(as_image(image, "image"), expected)
    assert not caplog.records


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_few_bits_in_16_are_read_as_they_are(
    bits: int, suffix: str, picture: Image, caplog: pytest.LogCaptureFixture
) -> None:
    """Read as 16 bits, 12 of them would be 15 of 255 at most."""
    gray = gray_of(picture)
    gray[0, 0] = 255
    deep = gray.astype(np.uint16) << (bits - 8)
    for given in (encoded(deep, suffix), Pillow.fromarray(deep)):  # type: ignore[arg-type]
        caplog.clear()
        with caplog.at_level(logging.WARNING, "engine"):
            assert np.array_equal(as_image(given, "it"), as_bgr(gray))
        assert [record.getMessage() for record in caplog.records] == [
            f"it has 16 bits a channel, of which only {bits} are used: read as {bits} bits."
        ]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bits_are_read_as_16(suffix: str, picture: Image, caplog: pytest.LogCaptureFixture) -> None:
    gray = gray_of(picture)
    gray[0, 0] = 17  # 4369, the first that is more than 12 bits; and nothing bright
    for darkest in (gray, np.minimum(gray, 17)):
        deep = darkest.astype(np.uint16) * 257
        assert np.array_equal(as_image(encoded(deep, suffix), "it"), as_bgr(darkest))  # type: ignore[arg-type]
        assert np.array_equal(as_image(Pillow.fromarray(deep), "it"), as_bgr(darkest))
    black = np.zeros((9, 9), np.uint16)
    assert not as_image(encoded(black, suffix), "it").any()  # type: ignore[arg-type]
    assert not caplog.records


def test_colours_of_12_bits(picture: Image) -> None:
    picture[0, 0] = 255
    deep = picture.astype(np.uint16) << 4
    assert np.array_equal(as_image(encoded(deep), "it"), picture)  # type: ignore[arg-type]


def test_a_dark_picture_of_8_bits_stays_dark(picture: Image, caplog: pytest.LogCaptureFixture) -> None:
    assert np.array_equal(as_image(encoded(picture // 32), "it"), picture // 32)
    assert not caplog.records


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_integer_modes_of_pillow(mode: str, picture: Image) -> None:
    gray = gray_of(picture)
    gray[0, 0] = 255
    wide: Any = {"I": np.int32, "I;16": np.uint16, "I;16B": np.dtype(">u2")}[mode]
    image = Pillow.frombytes(mode, (53, 37), (gray.astype(wide) * 257).astype(wide).tobytes())
    assert np.array_equal(as_image(image, "it"), as_bgr(gray))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".pam", ".bmp", ".tiff", ".webp", ".pfm", ".hdr"])
def test_files_of_grey_pictures_have_three_channels(suffix: str) -> None:
    levels = np.full((9, 16), 100, np.float32 if suffix in (".pfm", ".hdr") else np.uint8)
    image = as_image(encoded(levels, suffix), "it")
    assert image.shape == (9, 16, 3)
    assert np.ptp(image) <= 1
