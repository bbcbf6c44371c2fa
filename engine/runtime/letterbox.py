"""Letterboxing images into a batch, and mapping faces back to the pixels of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from engine import ops
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.runtime.gpu.arrays import is_device_array, shape_of
from engine.types import AnyImage, Detections, FloatArray, Image, RawDetections
from engine.untrusted.limits import MAX_IMAGE_SIDE


def check_image(image: object, name: str, on_gpu: bool = False) -> Image:
    """Return `image` as a contiguous uint8 array [H, W, 3]; with `on_gpu` a device array is returned as it is.

    Raises:
        InvalidArgumentError: another type, dtype, rank or number of channels, or no pixels.
    """
    if is_device_array(image):
        if not on_gpu:
            raise InvalidArgumentError(
                f"{name} is an array on a GPU ({type(image).__name__}), expected a NumPy array: device arrays are for "
                "detect and detect_device of a detector on that GPU"
            )
        check_shape(shape_of(image), name)
        return cast(Image, image)
    if not isinstance(image, np.ndarray):
        raise InvalidArgumentError(
            f"{name} is a {type(image).__name__}, expected a NumPy array, uint8 [H, W, 3] in BGR order as cv2.imread "
            "returns (which gives None for a file that it cannot read)"
        )
    if image.dtype != np.uint8:
        raise InvalidArgumentError(f"{name} has dtype {image.dtype}, expected uint8 with values 0 to 255")
    check_shape(image.shape, name)
    return np.ascontiguousarray(image)


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise InvalidArgumentError unless `shape` is that of an image."""
    if len(shape) != 3 or shape[2] != 3:
        raise InvalidArgumentError(f"{name} has shape {shape}, expected [H, W, 3] in BGR order")
    if 0 in shape:
        raise InvalidArgumentError(f"{name} has shape {shape}: it has no pixels")
    if max(shape) > MAX_IMAGE_SIDE:
        raise InvalidArgumentError(f"{name} has shape {shape}, expected sides up to {MAX_IMAGE_SIDE}")


def check_images(images: AnyImage | Sequence[AnyImage], on_gpu: bool = False) -> list[Image]:
    """Check one image or a list of them with check_image; InvalidArgumentError for an empty list too."""
    if not isinstance(images, (list, tuple)):
        return [check_image(images, "image", on_gpu)]
    if not images:
        raise InvalidArgumentError("images is an empty list, expected at least one image")
    return [check_image(image, f"images[{i}]", on_gpu) for i, image in enumerate(images)]


@dataclass(frozen=True)
class Letterbox:
    """The mapping from images to the input of the network, and back for its faces.

    Attributes:
        size: (height, width) of the input.
        config: mean, std, colour order and padding.
        enlarge: whether images smaller than the input are magnified.
    """

    size: tuple[int, int]
    config: RetinaFaceConfig
    enlarge: bool

    def batch(self, images: Sequence[Image]) -> FloatArray:
        """Return BGR images as a normalised batch, float32 [N, 3, H, W]."""
        batch: FloatArray = np.empty((len(images), 3, *self.size), np.float32)
        self.fill(batch, images)
        return batch

    def fill(
        self, batch: FloatArray, images: Sequence[Image], *, channels_last: bool = False, threads: int = 0
    ) -> None:
        """Write BGR images to a batch, float32 [N, 3, H, W], or [N, H, W, 3] with `channels_last`."""
        transforms = np.empty((len(images), 3), np.float32)
        ops.letterbox(
            images,
            self.size,
            **self._arguments(),
            out=(batch, transforms),
            channels_last=channels_last,
            threads=threads,
        )

    def write(self, images: Sequence[object], out: tuple[object, object], dtype: str, stream: int) -> None:
        """Letterbox device arrays on a CUDA stream; `out` and its `dtype` are those of ops.letterbox."""
        ops.letterbox(images, self.size, **self._arguments(), dtype=dtype, out=out, stream=stream)

    def _arguments(self) -> dict[str, Any]:
        config = self.config
        return {
            "mean": config.mean,
            "std": config.std,
            "swap_rb": config.color_order == "rgb",
            "pad_value": config.pad_value,
            "enlarge": self.enlarge,
        }

    def to_images(self, raw: RawDetections, images: Sequence[Image], score_threshold: float) -> list[Detections]:
        """Return the faces of each image with a score above `score_threshold`, in pixels of that image."""
        sizes = [(height, width) for height, width, _ in map(shape_of, images)]
        boxes, landmarks = ops.unletterbox(
            raw.boxes, raw.landmarks, raw.num_detections, sizes, self.size, enlarge=self.enlarge
        )
        return [
            Detections(
                boxes[i, :count],
                raw.scores[i, :count],
                None if landmarks is None else landmarks[i, :count].reshape(-1, 5, 2),
            ).above(score_threshold)
            for i, count in enumerate(raw.num_detections)
        ]
