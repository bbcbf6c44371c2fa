"""The processors that operator tests run on."""

from __future__ import annotations

import atexit
import ctypes
import importlib.machinery
import importlib.util
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops

ROOT = Path(__file__).resolve().parents[2]
# Names a folder with another libcudart.so.13 than that of tools/cuda_emulator.
EMULATOR_VARIABLE = "RETINAFACE_CUDA_EMULATOR"
CUDA_RUNTIME = "libcudart.so.13"
_EMULATED_RUNTIME = "libcudemu.so.13"
# Another folder than this one, for the mutants of tests/csrc/mutants.
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


def is_emulated() -> bool:
    """Whether CUDA code of the tests runs on the emulator: it is built, and there is no device."""
    return ops.cuda_device_count() == 0 and emulator_folder() is not None


def load_emulator() -> Path:
    """Make libraries that are loaded from now on run CUDA on the emulator; skip where there is none.

    Returns:
        Its folder.
    """
    folder = emulator_folder()
    if folder is None:
        pytest.skip("no CUDA device, and no CUDA emulator: scripts/build-for-emulator VENV builds it")
    ctypes.CDLL(str(for_emulator(folder / CUDA_RUNTIME)), mode=ctypes.RTLD_GLOBAL)
    return folder


@cache
def for_emulator(library: Path) -> Path:
    """Return a copy of the emulator's library, or of one that runs on it, with another name for the CUDA runtime.

    PyTorch's builds for GPUs bring the real libcudart.so.13 into the process, and the loader would bind to that
    whatever needs a library of this name. The copies are, and need, one of another name, of the same length: names of
    libraries and of symbols' versions stand in the table of strings alone.
    """
    copies = Path(tempfile.mkdtemp(prefix="on-emulator-"))
    atexit.register(shutil.rmtree, copies, ignore_errors=True)
    copy = copies / library.name.replace(CUDA_RUNTIME, _EMULATED_RUNTIME)
    copy.write_bytes(library.read_bytes().replace(CUDA_RUNTIME.encode(), _EMULATED_RUNTIME.encode()))
    return copy


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
    path = for_emulator(built[0])
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
