"""A cache folder of the test's own, and builds that need no TensorRT."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.backend.plugin_library import PluginLibrary
from engine.backend.tensorrt import Backend
from engine.build.pipeline import BuildOptions
from engine.store import keep, key
from tests.support.engines import build_stand_in


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that RETINAFACE_TRT_CACHE names."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RETINAFACE_TRT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files of an engine that no TensorRT made."""
    folder = tmp_path_factory.mktemp("stand-in")
    build_stand_in(folder / keep.NAME)
    return folder


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, stand_in: Path) -> list[BuildOptions]:
    """The builds that were made, copies of the stand-in."""
    made: list[BuildOptions] = []

    def build(options: BuildOptions, show: object) -> None:
        made.append(options)
        shutil.copytree(stand_in, Path(str(options.output)).parent, dirs_exist_ok=True)

    monkeypatch.setattr(keep, "build_engine", build)
    monkeypatch.setattr(keep, "load_backend", lambda runtime: Backend("tensorrt-rtx", None, "0"))
    monkeypatch.setattr(key, "plugin_library", lambda: PluginLibrary(Path("plugins.so"), "0" * 64))
    return made
