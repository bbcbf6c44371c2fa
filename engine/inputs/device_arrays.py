"""Arrays in CUDA memory, of any library that has DLPack or __cuda_array_interface__."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from engine.inputs.pixels import check_shape
from engine.inputs.tensors import is_tensor, with_channels_last
from engine.types import Image

_CUDA, _CUDA_MANAGED = 2, 13  # DLPack's device types


def is_device_array(value: Any) -> bool:
    """Whether a value is an array in CUDA memory."""
    if isinstance(value, np.ndarray):
        return False
    if is_tensor(value):  # those of other devices may have no DLPack
        return bool(value.is_cuda)
    if hasattr(value, "__dlpack_device__"):
        return value.__dlpack_device__()[0] in (_CUDA, _CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def shape_of(array: Any) -> tuple[int, ...]:
    """Return the shape of an array in host or device memory."""
    shape = array.shape if hasattr(array, "shape") else array.__cuda_array_interface__["shape"]
    return tuple(int(extent) for extent in shape)


def from_device_array(image: Any, name: str, *, may_copy: bool) -> Image:
    """Return an array in CUDA memory, [H, W, 3], as it is; with `may_copy` a copy of a tensor [3, H, W].

    The copy is made on PyTorch's current stream and must be kept until it was read.

    Raises:
        InvalidArgumentError: another shape, no pixels, or sides that are too long.
    """
    if may_copy and is_tensor(image):
        image = with_channels_last(image, name).contiguous()
    check_shape(shape_of(image), name, channels=(3,))
    return cast(Image, image)
