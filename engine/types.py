"""Values that the public functions take and return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

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


AnyImage = Image | DeviceImage

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
class Detections:
    """The faces of one image, best first.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the given image; they may reach beyond its edges.
        scores: float32 [N], in [0, 1], descending.
        landmarks: float32 [N, 5, 2], x y in pixels of the given image: left eye, right eye, nose, left and right
            corner of the mouth, where left is the left of the image. None if the model has no landmark heads.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)

    def above(self, score_threshold: float) -> Detections:
        """Return the faces with a score above `score_threshold`."""
        keep = self.scores > score_threshold
        landmarks = None if self.landmarks is None else self.landmarks[keep]
        return Detections(self.boxes[keep], self.scores[keep], landmarks)

    def to_json(self) -> list[dict[str, Any]]:
        """Return a dictionary per face with its box, score and, if the model has them, landmarks."""
        faces: list[dict[str, Any]] = []
        for i in range(len(self)):
            face: dict[str, Any] = {
                "box": [round(float(v), 2) for v in self.boxes[i]],
                "score": round(float(self.scores[i]), 5),
            }
            if self.landmarks is not None:
                face["landmarks"] = [[round(float(x), 2), round(float(y), 2)] for x, y in self.landmarks[i]]
            faces.append(face)
        return faces


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
