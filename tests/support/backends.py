"""Runs the operators of the tests on the CPU, on a GPU, or on the CUDA emulator."""

from __future__ import annotations

import atexit
import ctypes
import importlib.machinery
import importlib.util
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.backend.driver import sees_gpu
from engine.errors import CudaError

ROOT = Path(__file__).resolve().parents[2]
# Names a folder with another libcudart.so.13, in place of the one of tools/cuda_emulator.
EMULATOR_VARIABLE = "RETINAFACE_CUDA_EMULATOR"
CUDA_RUNTIME = "libcudart.so.13"
_EMULATED_RUNTIME = "libcudemu.so.13"
# Names the folder of the operators compiled for the emulator; tests/csrc/mutants sets it.
EMULATOR_BUILD_VARIABLE = "RETINAFACE_EMULATOR_BUILD"
EMULATOR_BUILD = Path(os.environ.get(EMULATOR_BUILD_VARIABLE) or ROOT / "build" / "emulator")


class Backend:
    """Copies arrays to the processor of a test, and results back."""

    def __init__(self, name: str) -> None:
        """Choose the processor, "cpu" or "cuda"."""
        self.name = name

    def put(self, array: NDArray[Any]) -> Any:
        """Return the array on the processor."""
        return array if self.name == "cpu" else ops.to_device(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Return a result as a NumPy array."""
        result = array if isinstance(array, np.ndarray) else array.numpy()
        assert isinstance(result, np.ndarray)
        return result


def emulator_folder() -> Path | None:
    """Return the folder of the CUDA emulator's runtime library, None if it is not built.

    Raises:
        FileNotFoundError: RETINAFACE_CUDA_EMULATOR names a folder without that library.
    """
    named = os.environ.get(EMULATOR_VARIABLE)
    folder = Path(named).resolve() if named else ROOT / "build" / "cuda-emulator" / "lib"
    if (folder / CUDA_RUNTIME).exists():
        return folder
    if named:
        raise FileNotFoundError(f"{EMULATOR_VARIABLE} names {folder}, which has no {CUDA_RUNTIME}: unset it")
    return None


def is_emulated() -> bool:
    """Return whether the tests run CUDA code on the emulator: it is built, and there is no GPU."""
    return ops.cuda_device_count() == 0 and emulator_folder() is not None


def emulated_runtime() -> ctypes.CDLL:
    """Return the emulator's runtime library, whose device memory is the host's; skip on a GPU and without emulator."""
    if sees_gpu():
        pytest.skip("looks into the CUDA emulator, and CUDA code runs on a GPU here")
    return ctypes.CDLL(str(for_emulator(load_emulator() / CUDA_RUNTIME)))


def load_emulator() -> Path:
    """Make libraries that are loaded from now on run CUDA code on the emulator; skip if it is not built.

    Returns:
        The folder of the emulator.
    """
    folder = emulator_folder()
    if folder is None:
        pytest.skip("no GPU, and the CUDA emulator is not built: scripts/build-for-emulator VENV builds it")
    ctypes.CDLL(str(for_emulator(folder / CUDA_RUNTIME)), mode=ctypes.RTLD_GLOBAL)
    return folder


@cache
def for_emulator(library: Path) -> Path:
    """Return a copy of a library in which the CUDA runtime has another name.

    `library` is the emulator's runtime library, or one that needs it. GPU builds of PyTorch load the real
    libcudart.so.13, and the loader would then bind every library that needs this name to it. The new name has the same
    length, so it can be replaced in the string table, which holds the names of libraries and of symbol versions.
    """
    copies = Path(tempfile.mkdtemp(prefix="on-emulator-"))
    atexit.register(shutil.rmtree, copies, ignore_errors=True)
    copy = copies / library.name.replace(CUDA_RUNTIME, _EMULATED_RUNTIME)
    copy.write_bytes(library.read_bytes().replace(CUDA_RUNTIME.encode(), _EMULATED_RUNTIME.encode()))
    return copy


def leave_lost_gpu() -> None:
    """End this process if a kernel's fault has made its GPU unusable: every later test would fail, too.

    A worker of pytest-xdist is replaced, and pytest-xdist blames the test that it was running.
    """
    if ops.cuda_device_count() == 0:
        return
    try:
        ops.to_device(np.zeros(1, np.uint8)).numpy()
    except CudaError as error:
        if error.name == "cudaErrorMemoryAllocation":
            return
        reason = f"the GPU is lost to this process: {error}"
        if "PYTEST_XDIST_WORKER" in os.environ:
            print(reason, file=sys.__stderr__, flush=True)
            os._exit(1)
        pytest.exit(reason, returncode=1)


def use_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make engine.ops run CUDA kernels on a GPU, else on the emulator; skip if there is neither."""
    if ops.cuda_device_count() > 0:
        return
    load_emulator()
    monkeypatch.setattr(ops, "_native", _emulated_native())


@cache
def _emulated_native() -> Any:
    """Return the module of the `emulator` CMake preset, bound to the emulator's runtime library.

    The shipped module cannot be used: its CUDA runtime is linked statically.
    """
    built = sorted(EMULATOR_BUILD.glob("_native*.so"))
    if not built:
        pytest.fail(
            f"the CUDA emulator is built, but {EMULATOR_BUILD} has no _native module: "
            "scripts/build-for-emulator VENV builds it"
        )
    name = "tests.emulated._native"
    path = for_emulator(built[0])
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
