"""Packages that only evaluation needs."""

from __future__ import annotations

import importlib
from typing import Any

from engine.errors import EvaluationError


def require(module: str) -> Any:
    """Import a module of the extra `evaluate`; EvaluationError says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EvaluationError(f"evaluation needs {module} ({error}): pip install 'retinaface-trt[evaluate]'") from error
