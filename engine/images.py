"""Image files: finding them in a folder, and reading them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engine.errors import InvalidArgumentError
from engine.types import Image

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
        InvalidArgumentError: the file cannot be read, or is not an image; the message does not contain the path.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot be read: {error.strerror}") from error
    return decode_image(content)


def decode_image(content: bytes) -> Image:
    """Decode the content of an image file to uint8 [H, W, 3] in BGR order.

    Raises:
        InvalidArgumentError: it is not an image.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error:  # more pixels than OpenCV allows
        image = None
    if image is None:
        raise InvalidArgumentError("is not a picture that OpenCV can read")
    return np.asarray(image, np.uint8)
