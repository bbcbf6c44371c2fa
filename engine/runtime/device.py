"""The choice of a device, and of the session that serves it."""

from __future__ import annotations

import re

from engine.backend.driver import sees_gpu
from engine.errors import DeviceError, InvalidArgumentError, RetinaFaceError
from engine.runtime.cpu.session import CpuSession
from engine.runtime.gpu.opening import open_tensorrt_session
from engine.runtime.session import Session
from engine.sidecar import EngineFiles


def open_session(
    files: EngineFiles,
    device: str,
    trust_embedded_plugins: bool,
    *,
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    cuda_graphs: bool = True,
) -> tuple[Session, str | None]:
    """Open a session on `device`: "auto", "cpu", "cpu:openvino", "cpu:onnxruntime", "cuda" or "cuda:N".

    Args:
        files: of the engine.
        device: a plain "cpu" takes OpenVINO where it is installed and can run the network, else ONNX Runtime.
        trust_embedded_plugins: see TRTRetinaFace.
        size: (height, width) that the CPU shall be fastest at; None is the engine's best.
        threads: of the CPU, at most; None is all cores.
        cuda_graphs: see TRTRetinaFace.

    Returns:
        The session, and, where "auto" could not take a GPU, the reason.

    Raises:
        InvalidArgumentError: another name of a device, or an impossible number of threads.
        DeviceError: the GPU that was asked for is not usable.
        EngineLoadError: the engine does not fit the runtime or the GPU.
    """
    if match := re.fullmatch(r"cpu(?::(\w+))?", str(device)):
        return CpuSession(files, size=size, threads=threads, library=match[1]), None
    if device == "auto":
        reason = "no NVIDIA driver with a GPU was found"
        if sees_gpu():
            try:
                return open_tensorrt_session(files, 0, trust_embedded_plugins, cuda_graphs), None
            except RetinaFaceError as error:
                reason = str(error)
        return CpuSession(files, size=size, threads=threads), reason
    match = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if match is None:
        raise InvalidArgumentError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N")
    if not sees_gpu():
        raise DeviceError(
            f"device {device} is not usable: no NVIDIA driver with a GPU was found. Use device='cpu', which runs the "
            "same network on the CPU, or device='auto'"
        )
    return open_tensorrt_session(files, int(match[1] or 0), trust_embedded_plugins, cuda_graphs), None
