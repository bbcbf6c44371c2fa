"""What every session offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.runtime.letterbox import Letterbox
from engine.runtime.timing import Stopwatch
from engine.types import FloatArray, Image, RawDetections


class Session(Protocol):
    """A loaded engine on one device.

    Attributes:
        device: "cpu" or "cuda:N".
        runtime: name and version of what runs the network there.
    """

    device: str
    runtime: str

    def run(self, batch: FloatArray) -> RawDetections:
        """Detect in a normalised batch, float32 [N, 3, H, W], of an allowed size.

        Raises:
            InferenceError: the run failed.
        """

    def detect(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """Detect in images, at most as many as the engine's largest batch, letterboxed to an allowed size.

        Args:
            images: uint8 [H, W, 3] in BGR order.
            letterbox: to the network's input.
            watch: told when each stage from "letterbox" to "d2h" has ended, and "queueing" where another thread's run
                came first.

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
