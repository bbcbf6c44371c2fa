"""Fixtures for the kernels and programs that the emulator's build compiles."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.cuda_emulator import BUILD, Module

DEFAULT_SEED = 20240229

Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def built(name: str) -> Path:
    """Return a file of the build; skip if the emulator is not built, fail if only this file is missing."""
    if not (BUILD / "lib" / "libcudart.so.13").exists():
        pytest.skip("the CUDA emulator is not built: scripts/build-for-emulator VENV does it")
    path = BUILD / "tests" / name
    if not path.exists():
        pytest.fail(f"{path} is missing: scripts/build-for-emulator VENV builds it")
    return path


@cache
def kernels(name: str, architecture: int = 80) -> Module:
    """Load the PTX of a file of kernels/, compiled for an architecture."""
    return Module(built(f"{name}_{architecture}.ptx").read_text())


@pytest.fixture(params=[80, 120], ids="sm_{}".format)
def architecture(request: pytest.FixtureRequest) -> Any:
    """The architecture of the PTX: nvcc uses other instructions for each."""
    return request.param


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A new random generator for every test; --seed exists only if the project's other tests run too."""
    return np.random.default_rng(request.config.getoption("--seed", DEFAULT_SEED))


@pytest.fixture
def run() -> Runner:
    """A function that runs a test of a program on the emulator, with its own environment variables."""

    def run_program(program: str, test: str, **settings: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_EMULATOR_")}
        environment = {**inherited, "LD_LIBRARY_PATH": str(BUILD / "lib"), **settings}
        command = [str(built(program)), test]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    return run_program
