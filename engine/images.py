"""Image files: finding them in a folder, and reading them.

Of an animated picture, or a file with pages, the first is read. Files of 16 bits a channel whose values need only 8, 10
or 12 of them, as cameras and scanners write, are read by these, else they would be black. Both are logged as warnings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.text import printable
from engine.types import Image
from engine.untrusted.files import read_file
from engine.untrusted.image_frames import number_of_frames
from engine.untrusted.image_header import Claim, claim_of
from engine.untrusted.limits import MAX_FRAMES, MAX_IMAGE_BYTES, MAX_IMAGE_MEMORY_BYTES, MAX_IMAGE_SIDE, MIB

_log = logging.getLogger("engine")

SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
# The largest value in 8 bits that may be 12 bits of 16: decoders round 4095 / 257, or take the upper byte.
_DARK = 16
_DEEP = 4  # images of 8 bits that one of 16 takes in addition: it is twice as large, and is copied
_SAMPLED = 16  # looking at one pixel of 16 x 16 first costs nothing


def list_images(folder: Path, *, recursive: bool = True) -> list[Path]:
    """Return the image files in a folder; see list_files.

    Raises:
        InvalidArgumentError: there is no such folder, or no image in it.
    """
    return list_files(folder, SUFFIXES, "pictures", recursive=recursive)


def list_files(folder: Path, suffixes: Sequence[str], what: str, *, recursive: bool) -> list[Path]:
    """Return the files of some kinds in a folder, by their suffixes, in alphabetical order.

    Args:
        folder: to look in.
        suffixes: in small letters; those of names may have others.
        what: the kinds, for messages.
        recursive: whether to look in its subfolders, too, but for those that are links.

    Raises:
        InvalidArgumentError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise InvalidArgumentError(f"{folder} is not a folder")
    found = folder.rglob("*") if recursive else folder.iterdir()
    paths = sorted(path for path in found if path.suffix.lower() in suffixes and path.is_file())
    if not paths:
        raise InvalidArgumentError(f"the folder {folder} has no {what}: names that end in {', '.join(suffixes)}")
    return paths


def read_image(path: Path) -> Image:
    """Read an image file as uint8 [H, W, 3] in BGR order.

    Raises:
        InvalidArgumentError: the file cannot be read, is not an image, or claims sides that are too long; the message
            does not contain the path.
    """
    return decode_image(_read(path), str(path))


def decode_image(content: bytes, name: str = "the picture") -> Image:
    """Decode the content of an image file to uint8 [H, W, 3] in BGR order.

    Args:
        content: of the file.
        name: for warnings.

    Raises:
        InvalidArgumentError: it is not an image, or claims sides that are too long; the message has no name.
    """
    image = _decode(content, cv2.IMREAD_COLOR)
    warn_of_frames(number_of_frames(content), name)
    if image[::_SAMPLED, ::_SAMPLED].max() <= _DARK and image.max() <= _DARK:
        deep = _decode_deep(content, image.nbytes)
        if deep is not None:
            return to_8_bits(deep, name)
    if image.ndim == 2:  # OpenCV leaves grey PFM files as they are
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return image


def _decode_deep(content: bytes, image_bytes: int) -> NDArray[np.uint16] | None:
    """Decode a picture, of which an image of 8 bits is in memory; None if it has no 16 bits, or is too large."""
    claim = claim_of(content)
    if claim is None or claim.decoding_bytes + _DEEP * image_bytes + len(content) > MAX_IMAGE_MEMORY_BYTES:
        return None
    try:
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # a decoder that gives no such type
        return None
    return np.asarray(deep) if deep is not None and deep.dtype == np.uint16 else None


def to_8_bits(values: NDArray[np.uint16], name: str) -> Image:
    """Return 16-bit values as 8-bit ones: their highest bits, of 16, or of the 12, 10 or 8 that they need.

    Args:
        values: uint16 of any shape, at least one.
        name: for the warning.
    """
    largest = int(values.max())
    bits = next(bits for bits in (8, 10, 12, 16) if largest < 1 << bits)
    if bits < 16 and largest:
        _log.warning(
            "%s has 16 bits a channel, of which only %d are used: read as %d bits.", printable(name), bits, bits
        )
    return (values >> (bits - 8)).astype(np.uint8)


def warn_of_frames(count: int, name: str) -> None:
    """Log a warning if there are several pictures in one."""
    if count > 1:
        many = f"{count} or more" if count >= MAX_FRAMES else str(count)
        _log.warning("%s has %s frames or pages: only the first is used.", printable(name), many)


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
