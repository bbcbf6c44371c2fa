"""What every session offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.types import FloatArray, IntArray


@dataclass(frozen=True)
class RawDetections:
    """What an engine returns for a batch, in pixels of the network's input.

    Attributes:
        num_detections: int32 [N].
        boxes: float32 [N, M, 4].
        scores: float32 [N, M].
        landmarks: float32 [N, M, 10], or None.
    """

    num_detections: IntArray
    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None


class Session(Protocol):
    """A loaded engine on one device."""

    device: str

    def run(self, batch: FloatArray) -> RawDetections:
        """Detect in a normalised batch, float32 [N, 3, H, W], of an allowed size.

        Raises:
            InferenceError: the run failed.
        """

    def clone(self) -> Session:
        """Return a session on the same device and weights that may run at the same time as this one.

        Raises:
            DeviceError: the device has no room for it.
        """

    def close(self) -> None:
        """Give back what the session holds; it is not used any more."""
