"""Values that the public functions take and return."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
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
# Names of an engine's outputs that every model uses for the same.
_OUTPUTS = ("num_detections", "boxes", "scores", "landmarks", "classes", "vertices", "colours")


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
        landmarks: float32 [N, M, 2 L], or None.
        classes: int32 [N, M], 1 to C - 1; None if there is one class beside the background.
        values: float32 [N, M, D] of each head of values, by name.
        vertices: float32 [N, K, V, 3], x, y and depth, of the meshes of the first K faces; None if there are none.
        colours: float32 [N, K, V, 3], of these vertices: red, green, blue, 0 to 1; None if the engine gives none.
    """

    num_detections: IntArray
    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None = None
    classes: IntArray | None = None
    values: Mapping[str, FloatArray] = field(default_factory=dict)
    vertices: FloatArray | None = None
    colours: FloatArray | None = None

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> RawDetections:
        """Return the outputs of an engine, given by name."""
        return cls(**_by_attribute(outputs))


@dataclass(frozen=True)
class DeviceDetections:
    """The faces of a batch in CUDA memory, in arrays of fixed sizes, padded with zeros.

    They are CuPy arrays, which other libraries take through DLPack or __cuda_array_interface__. Boxes and landmarks are
    in pixels of the letterboxed input: engine.ops.unletterbox maps them, on the device, to pixels of the images. So are
    values of the coding "points", which it takes for landmarks, and vertices, whose x and y are mapped as it maps
    boxes, and whose depth is scaled by the mean of both factors.

    Attributes:
        num_detections: int32 [N].
        boxes: float32 [N, M, 4].
        scores: float32 [N, M], descending.
        landmarks: float32 [N, M, 2 L], x y of L points, or None if the model has no landmark heads.
        classes: int32 [N, M], 1 to C - 1; None if there is one class beside the background.
        values: float32 [N, M, D] of each head of values, by name.
        vertices: float32 [N, K, V, 3], x, y and depth in pixels of the letterboxed input, of the meshes of the first K
            faces; None if the engine gives none.
        colours: float32 [N, K, V, 3], of these vertices: red, green, blue, 0 to 1; None if the engine gives none.
    """

    num_detections: Any
    boxes: Any
    scores: Any
    landmarks: Any = None
    classes: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    vertices: Any = None
    colours: Any = None

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> DeviceDetections:
        """Return the outputs of an engine, given by name."""
        return cls(**_by_attribute(outputs))


def _by_attribute(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Put the outputs whose names are a model's own, its values, in one dictionary."""
    known = {name: value for name, value in outputs.items() if name in _OUTPUTS}
    return {**known, "values": {name: value for name, value in outputs.items() if name not in _OUTPUTS}}
