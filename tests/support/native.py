"""Lets the tests use another build of engine._native; tests/__init__.py calls it before any import of the package."""

from __future__ import annotations

import importlib.util
import os
import sys

# Names the shared library, such as one built with sanitizers.
NATIVE_VARIABLE = "RETINAFACE_NATIVE"
_NAME = "engine._native"


def use_named_build() -> None:
    """Load the library that RETINAFACE_NATIVE names as engine._native, if it is set."""
    path = os.environ.get(NATIVE_VARIABLE)
    if path is None:
        return
    spec = importlib.util.spec_from_file_location(_NAME, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{NATIVE_VARIABLE} names {path}, which is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)
