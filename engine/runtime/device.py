"""Opening a session on the device that was asked for."""

from __future__ import annotations

import re

from engine.backend.driver import sees_gpu
from engine.errors import DeviceError, InvalidArgumentError, RetinaFaceError
from engine.runtime.cpu.session import CpuSession
from engine.runtime.gpu.opening import open_tensorrt_session
from engine.runtime.session import DEFAULT_OPTIONS, RuntimeOptions, Session
from engine.sidecar import EngineFiles


def open_session(
    files: EngineFiles, device: str, options: RuntimeOptions = DEFAULT_OPTIONS
) -> tuple[Session, str | None]:
    """Open a session on `device`: "auto", "cpu", "cpu:openvino", "cpu:onnxruntime", "cuda" or "cuda:N".

    Args:
        files: of the engine.
        device: a plain "cpu" takes OpenVINO where it is installed and can run the network, else ONNX Runtime.
        options: how to run the engine.

    Returns:
        The session, and the reason why "auto" took no GPU, else None.

    Raises:
        InvalidArgumentError: an unknown device, or the number of threads is out of range.
        DeviceError: the GPU that was asked for is not usable.
        EngineLoadError: the engine does not fit the runtime or the GPU.
    """
    if match := re.fullmatch(r"cpu(?::(\w+))?", str(device)):
        return CpuSession(files, options, match[1]), None
    if device == "auto":
        reason = "no NVIDIA driver with a GPU was found"
        if sees_gpu():
            try:
                return open_tensorrt_session(files, 0, options), None
            except RetinaFaceError as error:
                reason = str(error)
        return CpuSession(files, options), reason
    match = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if match is None:
        raise InvalidArgumentError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N")
    if not sees_gpu():
        raise DeviceError(
            f"device {device} is not usable: no NVIDIA driver with a GPU was found. Use device='cpu', which runs the "
            "same network on the CPU, or device='auto'"
        )
    return open_tensorrt_session(files, int(match[1] or 0), options), None
