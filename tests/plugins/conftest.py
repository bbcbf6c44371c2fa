"""The plugin library as built, and where it runs."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

import engine
from engine import ops
from tests.backends import EMULATOR_BUILD, EMULATOR_VARIABLE, ROOT

from .driver import Library

DEVICE_BUILD = ROOT / "build" / "device"
PLUGINS = "libretinaface_plugins.so"
DRIVER = "librf_plugin_driver.so"
ALIAS = Path("rtx_alias") / "libtensorrt_rtx.so"


@pytest.fixture(params=[10, 11])
def any_library(request: pytest.FixtureRequest) -> Library:
    """The library to call, loaded as TensorRT 10 and as 11 do it; without a device on the emulator, else skipped."""
    return _library(request.param)


@pytest.fixture
def library() -> Library:
    """The library to call, loaded as TensorRT 10 does it; without a device on the emulator, else skipped."""
    return _library(10)


def _library(tensorrt_major: int) -> Library:
    if ops.cuda_device_count() > 0:
        build, preset = DEVICE_BUILD, "device"
    elif emulator := os.environ.get(EMULATOR_VARIABLE):
        build, preset = EMULATOR_BUILD, "emulator"
        _load_emulator(emulator)
    else:
        pytest.skip(f"no CUDA device, and {EMULATOR_VARIABLE} does not name a CUDA emulator's library folder")
    if not (build / DRIVER).exists():
        pytest.fail(f"{build} holds no {DRIVER}. Build it: cmake --preset {preset} && cmake --build --preset {preset}")
    return Library(build / DRIVER, build / PLUGINS, tensorrt_major)


def _load_emulator(folder: str) -> None:
    # By absolute path and globally, so that libcudart.so.13 of what is loaded later is this one.
    ctypes.CDLL(str(Path(folder).resolve() / "libcudart.so.13"), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(scope="session")
def plugin_path() -> Path:
    """The library to hand to a builder, which calls no kernel: the shipped one, else one built for tests."""
    for folder in (Path(engine.__file__).parent, DEVICE_BUILD, EMULATOR_BUILD):
        if (folder / PLUGINS).exists() and (folder / ALIAS).exists():
            if folder == EMULATOR_BUILD:
                emulator = os.environ.get(EMULATOR_VARIABLE)
                if not emulator:
                    pytest.skip(f"the plugins in {folder} need {EMULATOR_VARIABLE}")
                _load_emulator(emulator)
            return folder / PLUGINS
    pytest.skip(f"{PLUGINS} is not built: it needs nvcc and TensorRT's headers")
