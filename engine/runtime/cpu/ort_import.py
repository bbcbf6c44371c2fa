"""The import of ONNX Runtime, whose telemetry must be off before."""

from __future__ import annotations

import importlib
import os
from typing import Any


def import_ort(module: str = "onnxruntime") -> Any:
    """Import ONNX Runtime or a module inside it; everyone who uses it calls this instead of importing it."""
    # It would report uses to its makers, from a thread that forked processes wait for as they end.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module(module)
