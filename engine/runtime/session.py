"""What every session offers, and the choice among them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from engine.build.flavour import sees_gpu
from engine.errors import DeviceError, InvalidArgumentError, RetinaFaceError
from engine.sidecar import EngineFiles
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


def open_session(files: EngineFiles, device: str) -> tuple[Session, str | None]:
    """Open a session on `device`: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The session, and, where "auto" could not take a GPU, the reason.

    Raises:
        InvalidArgumentError: another name of a device.
        DeviceError: the GPU that was asked for is not usable.
        EngineLoadError: the engine does not fit the runtime or the GPU.
    """
    from engine.runtime.cpu import CpuSession

    if device == "cpu":
        return CpuSession(files), None
    if device == "auto":
        if not sees_gpu():
            return CpuSession(files), "no NVIDIA driver with a GPU was found"
        try:
            return _gpu_session(files, 0), None
        except RetinaFaceError as error:
            return CpuSession(files), str(error)
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise InvalidArgumentError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N")
    if not sees_gpu():
        raise DeviceError(
            f"device {device} is not usable: no NVIDIA driver with a GPU was found. Use device='cpu', which runs the "
            "same network with ONNX Runtime, or device='auto'"
        )
    return _gpu_session(files, int(match[1] or 0)), None


def _gpu_session(files: EngineFiles, index: int) -> Session:
    from engine.runtime.tensorrt import open_tensorrt_session

    return open_tensorrt_session(files, index)
