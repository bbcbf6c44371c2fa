"""Entry points of the commands, which end on signals and explain a failed import of `engine`.

Many projects have a package or a module called `engine`, and Python imports the first one on its path.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from retinaface_trt.interrupts import end_on_signals

_ENGINE = Path(__file__).resolve().parents[1] / "engine"


def main() -> int:
    """Run `retinaface-trt`."""
    _prepare("retinaface-trt")
    return int(_command_line().main())


def build_main() -> int:
    """Run `build_engine.py`."""
    _prepare("build_engine.py")
    return int(_command_line().build_main())


def bench_main() -> int:
    """Run `serve_bench.py`."""
    _prepare("serve_bench.py")
    return int(_command_line().bench_main())


def _prepare(program: str) -> None:
    """Set up this process before anything heavy is imported."""
    # OpenMP threads that spin while they wait, as they do unless told otherwise, take the cores from other work: beside
    # two busy cores a calibration takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    end_on_signals(program)


def import_command_line() -> ModuleType:
    """Import engine.cli.

    Raises:
        ImportError: the import fails; the message says why, and what to do.
    """
    try:
        module = importlib.import_module("engine.cli")
        if Path(str(module.__file__)).resolve() != _ENGINE / "cli" / "__init__.py":
            raise ImportError(f"engine.cli is {module.__file__}")
    except ImportError as error:
        raise ImportError(_reason(error)) from error
    return module


def _command_line() -> ModuleType:
    try:
        return import_command_line()
    except ImportError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def _reason(error: ImportError) -> str:
    found = find_spec("engine")
    origin = None if found is None else found.origin or next(iter(found.submodule_search_locations or []), None)
    if origin is None:
        return f"the package 'engine' of retinaface-trt is missing from {_ENGINE.parent}: install retinaface-trt again"
    if Path(origin).resolve() != _ENGINE / "__init__.py":
        return (
            f"Python finds another 'engine', {origin}, in place of retinaface-trt's, {_ENGINE}. Rename it, or "
            "remove its folder from Python's path (PYTHONPATH, or the folder that the program was started in)"
        )
    others = sorted(set(packages_distributions().get("engine", ())) - {"retinaface-trt"})
    if others:
        names = " ".join(others)
        return (
            f"{names} installed a package 'engine' over retinaface-trt's, {_ENGINE} ({error}): pip uninstall {names}, "
            "then install retinaface-trt again, or use separate environments"
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error.name} is not installed for {sys.executable}. Activate the environment of retinaface-trt "
            "(. .venv/bin/activate), or install that package for this Python too"
        )
    return str(error)
