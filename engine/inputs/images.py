"""One image of any kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from engine.errors import InvalidArgumentError
from engine.inputs.device_arrays import from_device_array, is_device_array
from engine.inputs.pillow import from_pillow, is_pillow
from engine.inputs.pixels import from_array, reordered
from engine.inputs.tensors import from_tensor, is_tensor
from engine.types import AnyImage, Color, Image
from engine.untrusted.limits import MAX_IMAGE_BYTES

_EXPECTED = (
    "expected a NumPy array, uint8 [H, W, 3], a path, the bytes of a picture file, an image of Pillow, or a tensor of "
    "PyTorch"
)


def as_image(
    image: AnyImage, name: str, *, color: Color = "bgr", to: Color = "bgr", on_gpu: bool = False, may_copy: bool = False
) -> Image:
    """Return an image as a contiguous uint8 array [H, W, 3].

    Args:
        image: a NumPy array, uint8 [H, W, 3], [H, W, 4], [H, W, 1] or [H, W]; a tensor of PyTorch, also with the
            channels first; an image of Pillow; a path; or the content of an image file.
        name: for messages.
        color: order of the channels of an array or tensor.
        to: that of the result.
        on_gpu: whether to return an array in CUDA memory, [H, W, 3], as it is; else it is refused.
        may_copy: with `on_gpu`, whether a tensor [3, H, W] in CUDA memory may be copied; see from_device_array.

    Raises:
        InvalidArgumentError: another type, dtype or shape, no pixels, sides that are too long, or a file that cannot be
            read or decoded.
    """
    if isinstance(image, np.ndarray):
        return from_array(image, name, color, to)
    if isinstance(image, str | os.PathLike):
        return reordered(_from_path(image, name), "bgr", to)
    if isinstance(image, bytes | bytearray | memoryview):
        return reordered(_from_content(image, name), "bgr", to)
    if is_pillow(image):
        return from_pillow(image, name, to)
    if is_device_array(image):
        if on_gpu:
            return from_device_array(image, name, may_copy=may_copy)
        raise InvalidArgumentError(
            f"{name} is an array on a GPU ({type(image).__name__}), expected one in the CPU's memory: device "
            "arrays are for detect and detect_device of a detector on that GPU"
        )
    if is_tensor(image):
        return from_tensor(image, name, color, to)
    raise InvalidArgumentError(f"{name} is a {type(image).__name__}, {_EXPECTED}{_advice(image)}")


def _from_path(path: str | os.PathLike[str], name: str) -> Image:
    given = os.fspath(path)
    if isinstance(given, str) and "://" in given:
        raise InvalidArgumentError(f"{name} is the address {given}, expected a file: fetch it, and give its bytes")
    from engine.images import read_image  # OpenCV takes long to import

    try:
        return read_image(Path(given))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}, the file {given}, {error}") from error
    except (TypeError, ValueError) as error:  # a path of bytes; or with characters that no path has
        raise InvalidArgumentError(f"{name} is the path {given!r}, which cannot be read: {error}") from error


def _from_content(content: bytes | bytearray | memoryview, name: str) -> Image:
    size = memoryview(content).nbytes
    if size > MAX_IMAGE_BYTES:
        raise InvalidArgumentError(f"{name} has {size:,} bytes, expected at most {MAX_IMAGE_BYTES:,}")
    from engine.images import decode_image

    try:
        return decode_image(bytes(content), name)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{name}, the content of a file, {error}") from error


def _advice(image: object) -> str:
    if image is None:
        return " (cv2.imread gives None for a file that it cannot read)"
    if hasattr(image, "read"):
        return ": give what its read() returns"
    return ": numpy.asarray(x) makes an array" if hasattr(image, "__array__") or hasattr(image, "__dlpack__") else ""
