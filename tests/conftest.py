"""Options and fixtures that all tests share."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.backend.driver import sees_gpu
from tests.support import shared
from tests.support.backends import Backend, leave_lost_gpu, use_cuda
from tests.support.data import astronaut

DEFAULT_SEED = 20240229
INTEGRATION = Path(__file__).parent / "integration"
# Markers of tests that run only with the option of the same name.
OPTIONAL = ("wheel", "browser", "triton", "ray")

# Makes the CUDA emulator report races, and delay stores that no fence orders. The processes that tests start
# inherit the settings.
os.environ.setdefault("CUDA_EMULATOR_RACE", "1")
# A device whose kernels start before those that they depend on have ended.
os.environ.setdefault("CUDA_EMULATOR_CC", "90")
# Makes idle PyTorch threads sleep. By default they spin, which slows all processes when several share the cores.
# PyTorch reads the variable when it is imported, later.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# OpenVINO's reports to its maker would fork this process.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --seed, --kernel-seed, --core-seconds, --wheel, --browser, --triton and --ray."""
    parser.addoption("--seed", type=int, default=DEFAULT_SEED, help="seed of the random tests (default: %(default)s)")
    parser.addoption("--kernel-seed", type=int, help="seed of the operators' random tests (default: that of --seed)")
    parser.addoption(
        "--core-seconds", type=float, default=math.inf, help="fail tests that take more CPU time than this"
    )
    parser.addoption("--wheel", type=Path, help="the wheel that the tests marked wheel install")
    parser.addoption("--browser", help="the Chromium of the tests marked browser")
    parser.addoption("--triton", type=Path, help="the engine that the tests marked triton serve, with Triton's server")
    parser.addoption("--ray", type=Path, help="the engine of the tests marked ray, beside that of tests.ray.own_engine")


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis wait: by default an example that takes 200 ms fails, as any does on a busy machine."""
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import HealthCheck, settings

        settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("patient")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Report the seed, with which a failure can be repeated, and the markers that are left out."""
    without = [f"left out: tests marked {name}, without --{name}" for name in OPTIONAL if not config.getoption(name)]
    kernels = config.getoption("--kernel-seed")
    seeds = f"--seed {config.getoption('--seed')}" + ("" if kernels is None else f" --kernel-seed {kernels}")
    return [f"random tests: {seeds}", *without]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark, skip or deselect tests by their needs: engines, CUDA, a GPU, an option."""
    for name in OPTIONAL:
        if config.getoption(f"--{name}") is None:
            without = [item for item in items if item.get_closest_marker(name)]
            config.hook.pytest_deselected(items=without)
            items[:] = [item for item in items if item not in without]
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if INTEGRATION in item.path.parents or any(name.endswith("_engine") for name in fixtures):
            item.add_marker(pytest.mark.slow)
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if item.get_closest_marker("tensorrt"):
            item.add_marker(pytest.mark.needs_gpu)
        if item.get_closest_marker("needs_gpu"):
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.skipif(not sees_gpu(), reason="needs an NVIDIA GPU"))
        if "cuda_code" in fixtures and parameters.get("backend") != "cpu":
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Open the folder of tests.support.shared."""
    shared.open_folder(tmp_path_factory)


@pytest.fixture(autouse=True)
def _core_seconds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail tests that take more CPU time than --core-seconds; other processes do not count."""
    begin = sum(os.times()[:4])
    yield
    took, limit = sum(os.times()[:4]) - begin, request.config.getoption("--core-seconds")
    if took > limit:
        pytest.fail(f"took {took:.0f} s of CPU time, {limit:g} s are allowed: mark the test slow, or make it smaller")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A random generator with the seed of the run, a new one for every test."""
    return np.random.default_rng(request.config.getoption("--seed"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG file of the astronaut: one face, at ASTRONAUT_FACE."""
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), astronaut())
    return path


@pytest.fixture
def cuda_code() -> Iterator[None]:
    """What runs CUDA code, on a GPU or on the emulator, depends on this fixture; such tests get the mark gpu."""
    yield
    leave_lost_gpu()


@pytest.fixture(params=["cpu", "cuda"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cuda_code: None) -> Backend:
    """Each processor in turn; CUDA runs on a GPU, else on the CUDA emulator, else it is skipped."""
    if request.param == "cuda":
        use_cuda(monkeypatch)
    return Backend(request.param)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, cuda_code: None) -> Backend:
    """CUDA only: on a GPU, else on the CUDA emulator, else skipped."""
    use_cuda(monkeypatch)
    return Backend("cuda")
