"""Engines that several tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import ops
from engine.backend.tensorrt import Backend
from engine.config.detection import InputSize
from engine.runtime import device
from engine.runtime.gpu import opening as tensorrt
from engine.sidecar import EngineFiles, read_engine
from tests.support.doubles.cupy import FakeCuda
from tests.support.doubles.tensorrt import FakeTensorRT, fake_letterbox
from tests.support.engines import build


@pytest.fixture(scope="session")
def fp32_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP32 engine of the default weights, 320x320."""
    path = tmp_path_factory.mktemp("fp32") / "faces.engine"
    build(path, precision="fp32")
    return path


@pytest.fixture(scope="session")
def fp16_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP16 engine for a range of sizes."""
    path = tmp_path_factory.mktemp("fp16") / "faces.engine"
    build(path, precision="fp16", size=InputSize((320, 320), (640, 640), (960, 960)))
    return path


@pytest.fixture
def files(fp32_engine: Path) -> EngineFiles:
    """The files of that engine."""
    return read_engine(fp32_engine)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A recording double as cupy, and the letterbox of its memory."""
    double = FakeCuda([])
    monkeypatch.setitem(sys.modules, "cupy", double)
    monkeypatch.setattr(ops, "letterbox", fake_letterbox(double))
    return double


@pytest.fixture(params=["tensorrt"])
def trt(
    files: EngineFiles, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> FakeTensorRT:
    """A recording double of TensorRT, or, with that parameter, of TensorRT-RTX."""
    return _installed(FakeTensorRT(files, fake_cuda), request.param, monkeypatch)


@pytest.fixture
def ranged_trt(fp16_engine: Path, fake_cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """One for the engine that takes a range of sizes."""
    return _installed(FakeTensorRT(read_engine(fp16_engine), fake_cuda), "tensorrt", monkeypatch)


def _installed(double: FakeTensorRT, backend: str, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    version = double.files.sidecar.runtime.version
    if backend == "tensorrt-rtx":
        double.profiles = double.profiles[:1]  # see engine.build.plan
    monkeypatch.setattr(tensorrt, "load_backend", lambda runtime: Backend(backend, double, version))
    monkeypatch.setattr(device, "sees_gpu", lambda: True)
    return double
