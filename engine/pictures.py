"""Picture files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    from engine.types import Image


def read_picture(path: Path) -> Image:
    """Return a picture in BGR order, upright.

    Raises:
        InvalidArgumentError: it cannot be read, or OpenCV does not know its format; the message goes on from its name.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InvalidArgumentError(f"cannot be read: {error.strerror}") from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise InvalidArgumentError("is not a picture that OpenCV can read")
    return np.asarray(image, np.uint8)
