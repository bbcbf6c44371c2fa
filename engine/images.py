"""Image files: finding them in a folder, and reading them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engine.errors import InvalidArgumentError
from engine.types import Image
from engine.untrusted.files import read_file
from engine.untrusted.image_header import Claim, claim_of
from engine.untrusted.limits import MAX_IMAGE_BYTES, MAX_IMAGE_MEMORY_BYTES, MAX_IMAGE_SIDE, MIB

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def list_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, by their suffixes, in alphabetical order.

    Raises:
        InvalidArgumentError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InvalidArgumentError(f"{folder} is not a folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise InvalidArgumentError(f"the folder {folder} has no pictures: names that end in {', '.join(SUFFIXES)}")
    return paths


def read_image(path: Path) -> Image:
    """Read an image file as uint8 [H, W, 3] in BGR order.

    Raises:
        InvalidArgumentError: the file cannot be read, is not an image, or claims sides that are too long; the message
            does not contain the path.
    """
    return decode_image(_read(path))


def decode_image(content: bytes) -> Image:
    """Decode the content of an image file to uint8 [H, W, 3] in BGR order.

    Raises:
        InvalidArgumentError: it is not an image, or claims sides that are too long; the message has no path.
    """
    return _decode(content, cv2.IMREAD_COLOR)


def read_eighth(path: Path) -> Image:
    """Read an image file at an eighth of its size, rounded up, as uint8 [H, W]: several times faster than read_image.

    Raises:
        InvalidArgumentError: see read_image.
    """
    return _decode(_read(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_IMAGE_BYTES)
    except OSError as error:
        raise InvalidArgumentError(f"cannot be read: {error.strerror}") from error


def _decode(content: bytes, flags: int) -> Image:
    claim = claim_of(content)  # before OpenCV takes memory for it
    if claim is not None:
        _refuse_large(claim, len(content))
    try:
        image = None if claim is None else cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # what some decoders say of damaged files
        image = None
    if image is None:
        raise InvalidArgumentError("is not a picture that OpenCV can read")
    return np.asarray(image, np.uint8)


def _refuse_large(claim: Claim, file_bytes: int) -> None:
    if claim.side > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(
            f"is a picture with a side of {claim.side} pixels, expected sides up to {MAX_IMAGE_SIDE}"
        )
    taken = claim.decoding_bytes + file_bytes
    if taken > MAX_IMAGE_MEMORY_BYTES:
        raise InvalidArgumentError(
            f"is a picture that takes up to {taken // MIB:,} MiB of memory to read, expected at most "
            f"{MAX_IMAGE_MEMORY_BYTES // MIB:,} MiB. Save it smaller, or as a JPEG file or a PNG file without animation"
        )
