"""The processors that operator tests run on."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops

ROOT = Path(__file__).resolve().parent.parent
EMULATOR_VARIABLE = "RETINAFACE_CUDA_EMULATOR"
# Another folder than this one, for the mutants of tests/mutants.
EMULATOR_BUILD_VARIABLE = "RETINAFACE_EMULATOR_BUILD"
EMULATOR_BUILD = Path(os.environ.get(EMULATOR_BUILD_VARIABLE) or ROOT / "build" / "emulator")


class Backend:
    """Brings arrays to where the operators shall run, and back."""

    def __init__(self, name: str) -> None:
        """Name it "cpu" or "cuda"."""
        self.name = name

    def put(self, array: NDArray[Any]) -> Any:
        """Return the array on the processor."""
        return array if self.name == "cpu" else ops.to_device(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Return a result on the host."""
        result = array if isinstance(array, np.ndarray) else array.numpy()
        assert isinstance(result, np.ndarray)
        return result


def use_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make engine.ops run CUDA kernels: on a device, else on the emulator, else skip."""
    if ops.cuda_device_count() > 0:
        return
    emulator = os.environ.get(EMULATOR_VARIABLE)
    if not emulator:
        pytest.skip(f"no CUDA device, and {EMULATOR_VARIABLE} does not name a CUDA emulator's library folder")
    monkeypatch.setattr(ops, "_native", _emulated_native(emulator))


@cache
def _emulated_native(emulator: str) -> Any:
    """The module of the `emulator` CMake preset, bound to the emulator's runtime library.

    A second module beside the shipped one, whose runtime is linked statically and cannot be replaced.
    """
    built = sorted(EMULATOR_BUILD.glob("_native*.so"))
    if not built:
        pytest.fail(
            f"{EMULATOR_VARIABLE} is set, but {EMULATOR_BUILD} holds no _native module. Build it: "
            "cmake --preset emulator && cmake --build --preset emulator"
        )
    # By absolute path and globally, so that the module's libcudart.so.13 is this one.
    ctypes.CDLL(str(Path(emulator).resolve() / "libcudart.so.13"), mode=ctypes.RTLD_GLOBAL)
    name = "tests.emulated._native"
    loader = importlib.machinery.ExtensionFileLoader(name, str(built[0]))
    spec = importlib.util.spec_from_file_location(name, built[0], loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
