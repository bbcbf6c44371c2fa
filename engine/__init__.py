"""RetinaFace checkpoints as TensorRT engines, from pixels to faces.

    from engine import TRTRetinaFace
    faces = TRTRetinaFace("retinaface_fp16.engine").detect(image)

Importing this package needs neither PyTorch nor TensorRT nor a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import (
    BuildError,
    CalibrationError,
    ClosedError,
    CudaError,
    DeviceError,
    DeviceLostError,
    DeviceMemoryError,
    EngineLoadError,
    EvaluationError,
    FaceIndexError,
    InferenceError,
    InvalidArgumentError,
    MisfitError,
    NativeModuleError,
    OutputError,
    QueueFullError,
    RetinaFaceError,
    StreamError,
    TrainingError,
    WeightsError,
)
from engine.version import project_version

if TYPE_CHECKING:
    from engine.config.model import RetinaFaceConfig
    from engine.detector import TRTRetinaFace
    from engine.faces import Detections, Face
    from engine.faces.align import align, crop
    from engine.runtime.gpu.jpeg import GpuImageDecoder
    from engine.runtime.queue import BatchQueue
    from engine.runtime.requests import Request
    from engine.video import Frame

__all__ = [
    "BatchQueue",
    "BuildError",
    "CalibrationError",
    "ClosedError",
    "CudaError",
    "Detections",
    "DeviceError",
    "DeviceLostError",
    "DeviceMemoryError",
    "EngineLoadError",
    "EvaluationError",
    "Face",
    "FaceIndexError",
    "Frame",
    "GpuImageDecoder",
    "InferenceError",
    "InvalidArgumentError",
    "MisfitError",
    "NativeModuleError",
    "OutputError",
    "QueueFullError",
    "Request",
    "RetinaFaceConfig",
    "RetinaFaceError",
    "StreamError",
    "TRTRetinaFace",
    "TrainingError",
    "WeightsError",
    "align",
    "crop",
]

__version__ = project_version()

_LAZY = {
    "BatchQueue": "engine.runtime.queue",
    "Detections": "engine.faces",
    "Face": "engine.faces",
    "Frame": "engine.video",
    "GpuImageDecoder": "engine.runtime.gpu.jpeg",
    "Request": "engine.runtime.requests",
    "RetinaFaceConfig": "engine.config.model",
    "TRTRetinaFace": "engine.detector",
    "align": "engine.faces.align",
    "crop": "engine.faces.align",
}


def __getattr__(name: str) -> Any:
    """Import on first use the names that need NumPy, ONNX Runtime and the compiled module."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
