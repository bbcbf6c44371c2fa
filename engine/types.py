"""Values that the public functions take and return."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
Image = NDArray[np.uint8]


class DeviceImage(Protocol):
    """An image in CUDA memory, of any library with __cuda_array_interface__ or DLPack: torch, CuPy, PyCUDA, ..."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape and type."""


class PillowImage(Protocol):
    """An image of Pillow."""

    @property
    def mode(self) -> str:
        """How pixels are stored: "RGB", "L", ..."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""


# What a detector takes for an image: an array, a path, the content of a picture file, an image of Pillow, a tensor.
AnyImage = Image | DeviceImage | str | os.PathLike[str] | bytes | bytearray | memoryview | PillowImage
Color = Literal["bgr", "rgb"]  # order of the channels

DEFAULT_SCORE_THRESHOLD = 0.5


@dataclass(frozen=True)
class WeightsOrigin:
    """The weights of a model.

    Attributes:
        source: the given name or path.
        sha256: of the file's content; None for random weights.
        known_as: name of the published weights; None for an unknown file.
        note: for users: where the weights come from, or what was assumed about them.
    """

    source: str
    sha256: str | None
    known_as: str | None
    note: str


@dataclass(frozen=True)
class RawDetections:
    """The outputs of an engine for a batch, in pixels of the network's input.

    Attributes:
        num_detections: int32 [N].
        boxes: float32 [N, M, 4].
        scores: float32 [N, M].
        landmarks: float32 [N, M, 10], or None.
    """

    num_detections: IntArray
    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None = None


@dataclass(frozen=True)
class DeviceDetections:
    """The faces of a batch in CUDA memory, in arrays of fixed sizes, padded with zeros.

    They are CuPy arrays, which other libraries take through DLPack or __cuda_array_interface__. Boxes and landmarks are
    in pixels of the letterboxed input: engine.ops.unletterbox maps them, on the device, to pixels of the images.

    Attributes:
        num_detections: int32 [N].
        boxes: float32 [N, M, 4].
        scores: float32 [N, M], descending.
        landmarks: float32 [N, M, 10], or None if the model has no landmark heads.
    """

    num_detections: Any
    boxes: Any
    scores: Any
    landmarks: Any = None
