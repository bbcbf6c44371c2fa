"""Installing from source when something is missing: clear errors, and a retry does not trust a broken environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# An index that does not answer; pip tries it once.
NO_INDEX = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}
HEADERS = "kernel_lens-2.0.1-py3-none-any.whl"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs that the bootstrap needs, but without a compiler and nvcc."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("bash", "dirname", "rm", "touch", "python3"):
        found = sys.executable if name == "python3" else shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _bootstrap(programs: Path, environment: Path, **variables: str) -> str:
    """Run the bootstrap, which must fail; return its error message."""
    command = [str(ROOT / "scripts" / "bootstrap"), str(environment), "openvino"]
    variables = {"PATH": str(programs), "HOME": str(programs), **NO_INDEX, **variables}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_no_compiler(programs: Path, tmp_path: Path) -> None:
    message = _bootstrap(programs, tmp_path / "venv")
    assert "There is no C++ compiler: c++ is not on PATH" in message
    assert "apt-get install g++" in message
    assert not (tmp_path / "venv").exists()


def test_an_old_python(programs: Path, tmp_path: Path) -> None:
    _program(programs, "c++", "")
    _program(programs, "python3.9", "exit 1")  # fails the version check
    message = _bootstrap(programs, tmp_path / "venv", PYTHON="python3.9")
    assert "python3.9 is no Python of 3.10 or later. Name one in PYTHON." in message
    assert not (tmp_path / "venv").exists()


def test_a_python_without_headers(programs: Path, tmp_path: Path) -> None:
    _program(programs, "c++", "")
    _program(programs, "python", 'case "$2" in *Python.h*) exit 1;; esac')
    message = _bootstrap(programs, tmp_path / "venv", PYTHON="python")
    assert "The headers of python are not installed (Python.h)" in message
    assert "apt-get install python3-dev" in message


def test_no_venv_module_in_the_first_and_the_second_run(programs: Path, tmp_path: Path) -> None:
    """Debian's Python without python3-venv makes a folder with Python, but without pip, and fails."""
    _program(programs, "c++", "")
    make = f"for last; do :; done; {sys.executable} -m venv --without-pip --clear $last; exit 1"
    _program(programs, "python", f'[ "$1" = -c ] && exit 0; {make}')
    # The second run finds that Python, and ensurepip fails too.
    message = _bootstrap(programs, tmp_path / "venv", PYTHON="python")
    assert "python cannot make a virtual environment" in message
    assert "apt-get install python3-venv" in message
    (tmp_path / "ensurepip.py").write_text("raise SystemExit('No module named ensurepip')")
    message = _bootstrap(programs, tmp_path / "venv", PYTHON="python", PYTHONPATH=str(tmp_path))
    assert "There is no pip in" in message
    assert "apt-get install python3-venv" in message


def test_an_index_that_does_not_answer(programs: Path, tmp_path: Path) -> None:
    _program(programs, "c++", "")
    message = _bootstrap(programs, tmp_path / "venv")
    assert "pip could not install what is named above" in message
    assert "run the same command again" in message
    assert (tmp_path / "venv" / ".unfinished").exists()


@pytest.mark.slow
def test_an_environment_with_half_a_package_is_made_again_only_after_an_unfinished_run(
    programs: Path, tmp_path: Path
) -> None:
    _program(programs, "c++", "")
    environment = tmp_path / "venv"
    _bootstrap(programs, environment)
    (packages,) = environment.glob("lib/python3*/site-packages")
    half = packages / "half-1.0.dist-info"

    def leave_half_a_package() -> None:
        half.mkdir()
        (half / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
        (half / "RECORD").write_text("half.py,sha256=x,6\n")

    leave_half_a_package()
    assert "files of half are missing" in _bootstrap(programs, environment)
    assert not half.exists()
    leave_half_a_package()
    (environment / ".unfinished").unlink()
    _bootstrap(programs, environment)
    assert half.exists()


def test_packages_that_lack_files_are_noticed(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    information = packages / "thing-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (packages / "thing.py").write_text("x = 1\n")

    def check() -> subprocess.CompletedProcess[str]:
        command = [python, ROOT / "scripts" / "check_packages.py"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert check().returncode == 1  # without a RECORD
    record = "thing.py,sha256=x,6\nthing-1.0.dist-info/METADATA,,\n"
    (information / "RECORD").write_text(record)
    assert check().returncode == 0
    (packages / "thing.py").write_text("x =")
    assert "files of thing are missing" in check().stderr
    (packages / "thing.py").unlink()
    assert "files of thing are missing" in check().stderr


def _fetch_headers(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    script = folder / "fetch.cmake"
    script.write_text(
        f"list(APPEND CMAKE_MODULE_PATH {ROOT}/cmake)\nset(CMAKE_BINARY_DIR {folder}/build)\n"
        f"set(Python_EXECUTABLE {sys.executable})\nfind_package(TensorRTHeaders 10 REQUIRED)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TENSORRT_ROOT"}
    command = [_cmake(), "-P", str(script)]
    return subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=False)


def _cmake() -> str:
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else "cmake"


def _words(text: str) -> str:
    """Join the lines that CMake has wrapped."""
    return " ".join(text.split())


def test_headers_of_another_content_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / HEADERS, "w") as archive:
        archive.writestr("kernel_lens/include/tensorrt/NvInferRuntime.h", "#error")
        archive.writestr(
            "kernel_lens-2.0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: kernel-lens\nVersion: 2.0.1"
        )
        archive.writestr("kernel_lens-2.0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    done = _fetch_headers(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), PIP_CONFIG_FILE=os.devnull)
    assert done.returncode != 0
    assert f"{HEADERS} with TensorRT's headers is not the published file: its SHA-256 is" in _words(done.stderr)
    assert "RETINAFACE_PLUGINS=OFF" in done.stderr
    assert list((tmp_path / "build").iterdir()) == []


def test_headers_that_cannot_be_fetched(tmp_path: Path) -> None:
    done = _fetch_headers(tmp_path, **NO_INDEX)
    assert done.returncode != 0
    assert "pip could not download TensorRT's headers" in _words(done.stderr)
    assert "Set TENSORRT_ROOT to the folder" in _words(done.stderr)
    assert not (tmp_path / "build" / "tensorrt-headers").exists()


def test_a_tensorrt_root_without_headers(tmp_path: Path) -> None:
    done = _fetch_headers(tmp_path, TENSORRT_ROOT=str(tmp_path))
    assert f"TENSORRT_ROOT is {tmp_path}, but no include/NvInferRuntime.h lies in it" in _words(done.stderr)


def test_without_nvcc_the_build_fails_and_says_how_to_go_without(programs: Path, tmp_path: Path) -> None:
    for name in ("c++", "make", "as", "ld", "ar", "ranlib"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    venv.create(tmp_path / "venv", symlinks=True)  # without the package of nvcc
    # Search programs on this PATH only, not in CMake's system folders, where Debian's nvcc may be.
    definitions = [
        "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF",
        f"-DPython_EXECUTABLE={tmp_path}/venv/bin/python",
        f"-Dpybind11_DIR={_pybind11()}",
    ]

    def configure(*more: str) -> subprocess.CompletedProcess[str]:
        command = [_cmake(), "-S", str(ROOT), "-B", str(tmp_path / "build"), *definitions, *more]
        return subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=False)

    for _ in range(2):
        done = configure()
        assert done.returncode != 0
        assert "The CUDA kernels and TensorRT plugins need nvcc" in _words(done.stderr)
        assert "-Ccmake.define.RETINAFACE_PLUGINS=OFF for pip" in _words(done.stderr)
    done = configure("-DRETINAFACE_PLUGINS=OFF")
    assert done.returncode == 0, done.stderr
    assert "CUDA kernels and TensorRT plugins: OFF" in done.stdout


def _pybind11() -> str:
    import pybind11

    return pybind11.get_cmake_dir()
