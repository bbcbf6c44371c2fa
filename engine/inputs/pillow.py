"""Images of Pillow. Nothing here imports it before there is one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from engine.errors import InvalidArgumentError
from engine.inputs.pixels import from_array
from engine.types import Color, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE

_PAIRS = "MPO"  # a photo with a second view or a preview, as phones write it


def is_pillow(value: object) -> bool:
    """Whether a value is an image of Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def from_pillow(image: Any, name: str, to: Color) -> Image:
    """Return an image of any mode as uint8 [H, W, 3], turned as its EXIF orientation says, without its transparency.

    Raises:
        InvalidArgumentError: it cannot be decoded or converted, has no pixels, or sides that are too long.
    """
    from PIL import ImageOps

    from engine.images import warn_of_frames

    width, height = image.size
    if not 0 < min(width, height) <= max(width, height) <= MAX_IMAGE_SIDE:
        raise InvalidArgumentError(f"{name} has {width} x {height} pixels, expected sides of 1 to {MAX_IMAGE_SIDE}")
    try:
        if image.format != _PAIRS and getattr(image, "tell", int)() == 0:
            warn_of_frames(getattr(image, "n_frames", 1), name)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            return from_array(_of_16_bits(np.asarray(upright), name), name, to, to)
        if upright.mode == "F":
            raise InvalidArgumentError(
                f'{name} is an image of mode F: scale its values to 0 to 255, then .convert("L")'
            )
        return from_array(np.asarray(upright.convert("RGB")), name, "rgb", to)
    except InvalidArgumentError:
        raise
    except (OSError, SyntaxError, TypeError, ValueError, EOFError) as error:  # what Pillow raises of damaged files
        raise InvalidArgumentError(
            f"{name} is an image of mode {image.mode} that Pillow cannot convert: {error}"
        ) from error


def _of_16_bits(values: Any, name: str) -> Image:
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise InvalidArgumentError(f"{name} has values from {values.min()} to {values.max()}, expected 16 bits")
    from engine.images import to_8_bits

    return to_8_bits(values.astype(np.uint16), name)
