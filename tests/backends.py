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
# Names a folder with another libcudart.so.13 than that of tools/cuda_emulator.
EMULATOR_VARIABLE = "RETINAFACE_CUDA_EMULATOR"
CUDA_RUNTIME = "libcudart.so.13"
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


def emulator_folder() -> Path | None:
    """Return where the CUDA emulator's runtime library lies, None where it was not built.

    Raises:
        FileNotFoundError: RETINAFACE_CUDA_EMULATOR names a folder without one.
    """
    named = os.environ.get(EMULATOR_VARIABLE)
    folder = Path(named).resolve() if named else ROOT / "build" / "cuda-emulator" / "lib"
    if (folder / CUDA_RUNTIME).exists():
        return folder
    if named:
        raise FileNotFoundError(f"{EMULATOR_VARIABLE} names {folder}, which holds no {CUDA_RUNTIME}: unset it")
    return None


def load_emulator() -> Path:
    """Make libraries that are loaded from now on run CUDA on the emulator; skip where there is none.

    Returns:
        Its folder.
    """
    folder = emulator_folder()
    if folder is None:
        pytest.skip("no CUDA device, and no CUDA emulator: scripts/build-for-emulator VENV builds it")
    # By absolute path and globally, so that their libcudart.so.13 is this one.
    ctypes.CDLL(str(folder / CUDA_RUNTIME), mode=ctypes.RTLD_GLOBAL)
    return folder


def use_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make engine.ops run CUDA kernels: on a device, else on the emulator, else skip."""
    if ops.cuda_device_count() > 0:
        return
    load_emulator()
    monkeypatch.setattr(ops, "_native", _emulated_native())


@cache
def _emulated_native() -> Any:
    """The module of the `emulator` CMake preset, bound to the emulator's runtime library.

    A second module beside the shipped one, whose runtime is linked statically and cannot be replaced.
    """
    built = sorted(EMULATOR_BUILD.glob("_native*.so"))
    if not built:
        pytest.fail(
            f"the CUDA emulator is there, but {EMULATOR_BUILD} holds no _native module. Build it: "
            "scripts/build-for-emulator VENV"
        )
    name = "tests.emulated._native"
    loader = importlib.machinery.ExtensionFileLoader(name, str(built[0]))
    spec = importlib.util.spec_from_file_location(name, built[0], loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
