"""The command line and the environment that Triton's server is started with."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from engine.triton import start
from engine.triton.start import Server, find_server


@pytest.fixture
def installed(tmp_path: Path) -> Server:
    """A server with the Python backend only."""
    (tmp_path / "backends" / "python").mkdir(parents=True)
    return Server(tmp_path / "bin" / "tritonserver", tmp_path / "backends", (tmp_path / "lib",))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a plan, as far as the start looks at it."""
    (tmp_path / "r" / "retinaface_plan").mkdir(parents=True)
    (tmp_path / "r" / "retinaface_plan" / "libretinaface_plugins.so").touch()
    return tmp_path / "r"


@pytest.mark.parametrize(("gpu", "backend"), [(True, True), (True, False), (False, True)])
def test_the_plan_is_served_where_it_can_be(
    installed: Server, repository: Path, gpu: bool, backend: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "sees_gpu", lambda: gpu)
    if backend:
        (installed.backends / "tensorrt").mkdir()
    command = installed.command(repository, [])
    library = repository / "retinaface_plan" / "libretinaface_plugins.so"
    assert (f"--backend-config=tensorrt,plugins={library}" in command) == (gpu and backend)
    assert ("--load-model=retinaface" in command) != (gpu and backend)


def test_it_listens_on_this_machine_unless_it_is_told_otherwise(installed: Server, tmp_path: Path) -> None:
    assert installed.command(tmp_path, [])[-2:] == ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]
    told = installed.command(tmp_path, ["--http-address", "0.0.0.0", "--grpc-address=::"])
    assert told[-3:] == ["--http-address", "0.0.0.0", "--grpc-address=::"]
    assert not [argument for argument in told if "127.0.0.1" in argument]


def test_the_backend_finds_this_python(installed: Server) -> None:
    environment = installed.environment({"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib", "OTHER": "1"})
    assert environment["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep) == [str(installed.libraries[0]), "/opt/lib"]
    assert environment["OTHER"] == "1"


def test_a_server_in_path_is_taken_with_its_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert find_server() == Server(program, tmp_path / "backends")


def test_without_a_server_it_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(start, "_CONTAINERS", tmp_path / "none")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "nvidia-pytriton" in start.main([str(tmp_path)])
    assert start.main([]).startswith("usage: ")
