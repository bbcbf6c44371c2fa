"""The commands explain what to do if Python finds another package `engine`, or if the project is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "import retinaface_trt, sys; sys.exit(retinaface_trt.main())"


def _run(python: Path | str, folder: Path, *path: Path, command: tuple[str, ...] = ("-c", RUN)) -> str:
    """Run a command that must fail with one line on stderr; return that line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run([python, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without packages."""
    venv.create(tmp_path / "venv", symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.parametrize("names", [["engine.py"], ["engine/__init__.py"], ["engine/__init__.py", "engine/cli.py"]])
def test_another_engine_comes_first(names: list[str], bare: Path, tmp_path: Path) -> None:
    for name in names:
        file = tmp_path / "other" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    line = _run(bare, tmp_path, tmp_path / "other", ROOT)
    other = tmp_path / "other" / names[0]
    assert f"Python finds another 'engine', {other}, in place of retinaface-trt's, {ROOT / 'engine'}." in line
    assert "PYTHONPATH" in line


def test_the_error_for_other_programs_is_an_import_error(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text("")
    script = (
        "import retinaface_trt\ntry: retinaface_trt.import_command_line()\n"
        "except ImportError as error: raise SystemExit(str(error))"
    )
    assert "Python finds another 'engine'" in _run(bare, tmp_path, tmp_path, ROOT, command=("-c", script))


def test_another_distribution_was_installed_over_this_one(bare: Path, tmp_path: Path) -> None:
    (packages,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (packages / "engine").mkdir()
    shutil.copytree(ROOT / "retinaface_trt", packages / "retinaface_trt")
    (packages / "engine" / "__init__.py").write_text("speed = 3\n")
    for name in ("retinaface-trt", "steam-engine"):
        information = packages / f"{name.replace('-', '_')}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "RECORD").write_text("engine/__init__.py,,\n")
    line = _run(bare, tmp_path)
    assert "steam-engine installed a package 'engine' over retinaface-trt's" in line
    assert "pip uninstall steam-engine, then install retinaface-trt again" in line


def test_a_folder_without_init_gives_way(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "engine").mkdir(parents=True)
    assert "is not installed for" in _run(bare, tmp_path, tmp_path / "other", ROOT)


@pytest.mark.parametrize("script", ["build_engine.py", "serve_bench.py"])
def test_outside_of_the_environment(script: str, bare: Path, tmp_path: Path) -> None:
    line = _run(bare, tmp_path, command=(str(ROOT / script), "--help"))
    assert line.startswith(f"{script}: ")
    assert f"is not installed for {bare}. Activate the environment" in line
