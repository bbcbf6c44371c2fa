"""NumPy arrays of pixels, and what is said of those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.text import represented
from engine.types import Color, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE

CHANNELS = (1, 3, 4)
_SHAPES = "[H, W, 3], [H, W, 4] with an alpha channel, or gray [H, W] or [H, W, 1]"


def check_color(color: Any) -> Color:
    """Return an order of channels; InvalidArgumentError if it is none."""
    if isinstance(color, str) and color in ("bgr", "rgb"):
        return color  # type: ignore[return-value]
    raise InvalidArgumentError(f"color is {represented(color)}, expected 'bgr' or 'rgb'")


def reordered(image: Image, color: Color, to: Color) -> Image:
    """Return uint8 [H, W, 3] in another order of channels; the same array if it is the same order."""
    if color == to:
        return image
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def from_array(image: NDArray[Any], name: str, color: Color, to: Color) -> Image:
    """Return an array of pixels as contiguous uint8 [H, W, 3]: gray ones three times, without an alpha channel.

    Args:
        image: uint8 [H, W, 3], [H, W, 4], [H, W, 1] or [H, W].
        name: for messages.
        color: order of its channels.
        to: that of the result.

    Raises:
        InvalidArgumentError: another dtype or shape, no pixels, or sides that are too long.
    """
    shape = image.shape
    if (
        color == to
        and image.dtype == np.uint8
        and len(shape) == 3
        and shape[2] == 3
        and 0 < shape[0] <= MAX_IMAGE_SIDE
        and 0 < shape[1] <= MAX_IMAGE_SIDE
    ):  # most images
        return np.ascontiguousarray(image)
    if image.dtype != np.uint8:
        raise InvalidArgumentError(
            f"{name} has dtype {image.dtype}, expected uint8 with values 0 to 255{_advice(image)}"
        )
    check_shape(image.shape, name)
    if image.ndim == 3 and image.shape[2] == 3:
        return reordered(np.ascontiguousarray(image), color, to)
    import cv2

    if image.ndim == 3 and image.shape[2] == 4:
        return reordered(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8), color, to)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)


def check_shape(shape: tuple[int, ...], name: str, channels: tuple[int, ...] = CHANNELS) -> None:
    """Raise InvalidArgumentError unless `shape` is that of an image whose channels come last."""
    gray = len(shape) == 2 and 1 in channels
    if not gray and (len(shape) != 3 or shape[2] not in channels):
        expected = _SHAPES if 1 in channels else "[H, W, 3]"
        raise InvalidArgumentError(f"{name} has shape {shape}, expected {expected}{_other_axes(shape)}")
    if 0 in shape:
        raise InvalidArgumentError(f"{name} has shape {shape}: it has no pixels")
    if max(shape) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(f"{name} has shape {shape}, expected sides up to {MAX_IMAGE_SIDE}")


def _other_axes(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in CHANNELS:
        return ": put the channels last with .transpose(1, 2, 0), of a tensor .permute(1, 2, 0).contiguous()"
    return ": give a batch as a list of its images, list(x)" if len(shape) == 4 else ""


def _advice(image: NDArray[Any]) -> str:
    kind = image.dtype.kind
    if kind == "f":
        return (
            ': convert it, for values from 0 to 1 with (x * 255).round().astype("uint8"), for values from 0 to 255 '
            'with x.round().clip(0, 255).astype("uint8")'
        )
    if image.dtype == np.uint16:
        return ': convert it, for values of 16 bits with (x >> 8).astype("uint8"), of 12 bits with (x >> 4)'
    return ': convert it, for values from 0 to 255 with x.astype("uint8")' if kind in "iu" else ""
