"""The choice of a device, and of the session that serves it."""

from __future__ import annotations

import re

from engine.build.flavour import sees_gpu
from engine.errors import DeviceError, InvalidArgumentError, RetinaFaceError
from engine.runtime.cpu import CpuSession
from engine.runtime.session import Session
from engine.runtime.tensorrt import open_tensorrt_session
from engine.sidecar import EngineFiles


def open_session(
    files: EngineFiles, device: str, trust_embedded_plugins: bool, cuda_graphs: bool = True
) -> tuple[Session, str | None]:
    """Open a session on `device`: "auto", "cpu", "cuda" or "cuda:N"; a GPU's captures CUDA graphs where it may.

    Returns:
        The session, and, where "auto" could not take a GPU, the reason.

    Raises:
        InvalidArgumentError: another name of a device.
        DeviceError: the GPU that was asked for is not usable.
        EngineLoadError: the engine does not fit the runtime or the GPU.
    """
    if device == "cpu":
        return CpuSession(files), None
    if device == "auto":
        if not sees_gpu():
            return CpuSession(files), "no NVIDIA driver with a GPU was found"
        try:
            return open_tensorrt_session(files, 0, trust_embedded_plugins, cuda_graphs), None
        except RetinaFaceError as error:
            return CpuSession(files), str(error)
    match = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if match is None:
        raise InvalidArgumentError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N")
    if not sees_gpu():
        raise DeviceError(
            f"device {device} is not usable: no NVIDIA driver with a GPU was found. Use device='cpu', which runs the "
            "same network with ONNX Runtime, or device='auto'"
        )
    return open_tensorrt_session(files, int(match[1] or 0), trust_embedded_plugins, cuda_graphs), None
