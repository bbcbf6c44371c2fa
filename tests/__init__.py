"""The tests. They may use another build of engine._native, such as one with sanitizers: RETINAFACE_NATIVE names it.

The plugin library beside it then counts as the installed one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import engine


def _use_native(path: str) -> None:
    """Load a library as engine._native, before anything imports that module."""
    spec = importlib.util.spec_from_file_location("engine._native", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"RETINAFACE_NATIVE names {path}, which is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine._native"] = module
    spec.loader.exec_module(module)
    engine.__path__.insert(0, str(Path(path).resolve().parent))


if path := os.environ.get("RETINAFACE_NATIVE"):
    _use_native(path)
