"""Servers that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import TRTRetinaFace
from engine.sidecar import EngineFiles, read_engine, sidecar_path
from engine.triton.repository import ENGINE_NAME, write_repository
from tests.support.data import picture_files
from tests.triton.server import Triton, triton


@pytest.fixture(scope="session")
def files(request: pytest.FixtureRequest) -> EngineFiles:
    """The engine that is served."""
    return read_engine(request.config.getoption("--triton"))


@pytest.fixture(scope="session")
def server(files: EngineFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A server of the engine."""
    repository = tmp_path_factory.mktemp("triton") / "repository"
    assert write_repository(files, repository) == ["retinaface"]
    with triton(repository, "--disable-auto-complete-config") as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="session")
def alone(files: EngineFiles) -> TRTRetinaFace:
    """The same engine, called directly."""
    return TRTRetinaFace(files.path, "cpu")


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Files of different sizes and formats, with and without faces."""
    return picture_files()


@pytest.fixture(scope="session")
def with_plan(files: EngineFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as engines of TensorRT have it, whose plan no server here can run."""
    repository = tmp_path_factory.mktemp("plan") / "repository"
    runtime = replace(files.sidecar.runtime, name="tensorrt")
    write_repository(replace(files, sidecar=replace(files.sidecar, runtime=runtime)), repository)
    sidecar_path(repository / "retinaface" / "1" / ENGINE_NAME).write_text(files.sidecar.to_json())
    return repository
