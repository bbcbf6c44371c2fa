"""Fixtures: the plugin library, on a device or on the emulator."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.backend.driver import sees_gpu
from engine.backend.plugin_library import plugin_library, rtx_alias_path
from engine.errors import BuildError
from tests.support.backends import EMULATOR_BUILD, ROOT, emulator_folder, for_emulator, load_emulator

from .driver import Library

DEVICE_BUILD = ROOT / "build" / "device"
PLUGINS = "libretinaface_plugins.so"
DRIVER = "librf_plugin_driver.so"


@pytest.fixture(params=[10, 11])
def any_library(request: pytest.FixtureRequest, cuda_code: None) -> Library:
    """The library, loaded as TensorRT 10 and as TensorRT 11 load it. Uses the emulator if there is no device."""
    return _library(request.param)


@pytest.fixture
def library(cuda_code: None) -> Library:
    """The library, loaded as TensorRT 10 loads it. Uses the emulator if there is no device."""
    return _library(10)


def _library(tensorrt_major: int) -> Library:
    if sees_gpu():
        build, preset = DEVICE_BUILD, "device"
    else:
        build, preset = EMULATOR_BUILD, "emulator"
        load_emulator()
    if not (build / DRIVER).exists():
        pytest.fail(f"{build} holds no {DRIVER}. Build it: scripts/build-for-emulator VENV {preset}")
    driver, plugins = build / DRIVER, build / PLUGINS
    if preset == "emulator":
        driver, plugins = for_emulator(driver), for_emulator(plugins)
    return Library(driver, plugins, tensorrt_major)


@dataclass(frozen=True)
class BuilderFiles:
    """The files that a builder loads.

    Attributes:
        plugins: the plugin library.
        alias: a library with the name that TensorRT-RTX's parser opens when it meets a plugin.
    """

    plugins: Path
    alias: Path


@pytest.fixture(scope="session")
def builder_files() -> BuilderFiles:
    """The installed libraries, else those built for the emulator: a builder runs no kernels."""
    alias = rtx_alias_path()
    if alias is not None:
        with suppress(BuildError):
            return BuilderFiles(plugin_library().path, alias)
    files = BuilderFiles(EMULATOR_BUILD / PLUGINS, EMULATOR_BUILD / "rtx_alias" / "libtensorrt_rtx.so")
    if emulator_folder() is None or not files.plugins.exists():
        pytest.skip("the plugins were not built with this installation: that needs nvcc and TensorRT's headers")
    load_emulator()
    return BuilderFiles(for_emulator(files.plugins), files.alias)
