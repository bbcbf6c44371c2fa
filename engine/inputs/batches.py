"""One image, or several, as batches of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from engine.errors import InvalidArgumentError
from engine.inputs.device_arrays import is_device_array
from engine.inputs.images import as_image
from engine.types import AnyImage, Color, Image


class Batch(NamedTuple):
    """Images of one run.

    Attributes:
        images: uint8 [H, W, 3].
        converted: whether one of them was not given as an array.
    """

    images: list[Image]
    converted: bool


def are_several(images: object) -> TypeGuard[Iterable[AnyImage]]:
    """Whether a caller gave several images: a list, a tuple, or a generator or other iterator."""
    return isinstance(images, list | tuple) or (isinstance(images, Iterator) and not hasattr(images, "read"))


def batches(
    images: AnyImage | Sequence[AnyImage] | Iterator[AnyImage], size: int, *, color: Color = "bgr", on_gpu: bool = False
) -> Iterator[Batch]:
    """Yield one image or several in batches of up to `size`, taken and converted when their batch is due.

    Args:
        images: see as_image.
        size: of a batch.
        color: order of the channels of arrays and tensors, and of those in batches.
        on_gpu: whether arrays in CUDA memory may be among them.

    Raises:
        InvalidArgumentError: there is none, or one of them is no image: the message says which.
    """
    if not are_several(images):
        yield _batch([images], ["image"], color, on_gpu)
        return
    source, done = iter(images), 0
    while given := list(islice(source, size)):
        yield _batch(given, [f"images[{done + i}]" for i in range(len(given))], color, on_gpu)
        done += len(given)
    if done == 0:
        kind = type(images).__name__
        raise InvalidArgumentError(f"images is an empty {kind}, expected at least one image")


def _batch(given: list[Any], names: list[str], color: Color, on_gpu: bool) -> Batch:
    images = [
        as_image(image, name, color=color, to=color, on_gpu=on_gpu, may_copy=True)
        for image, name in zip(given, names, strict=True)
    ]
    return Batch(images, not all(isinstance(image, np.ndarray) or is_device_array(image) for image in given))
