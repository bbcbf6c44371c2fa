"""The interface of all sessions, and the options that they are opened with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.runtime.letterbox import Letterbox
from engine.runtime.timing import Stopwatch
from engine.types import FloatArray, Image, RawDetections


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run an engine; see TRTRetinaFace.

    Attributes:
        input_size: (height, width) that the CPU is tuned for; None is the optimum of the engine.
        threads: of the CPU, at most; None is all cores.
        trust_embedded_plugins: whether to load the plugin library that an engine carries.
        cuda_graphs: whether to capture CUDA graphs.
    """

    input_size: tuple[int, int] | None = None
    threads: int | None = None
    trust_embedded_plugins: bool = False
    cuda_graphs: bool = True


DEFAULT_OPTIONS = RuntimeOptions()


class Session(Protocol):
    """A loaded engine on one device.

    Attributes:
        device: "cpu" or "cuda:N".
        runtime: name and version of the library that runs the network.
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
            watch: records the stages from "letterbox" to "d2h", and "queueing" while another thread runs.

        Raises:
            InferenceError: the run failed.
        """

    def clone(self) -> Session:
        """Return a session on the same device with the same weights, which can run at the same time.

        Raises:
            DeviceError: the device has no memory left for it.
        """

    def close(self) -> None:
        """Free the memory of the session, which is not used any more."""
