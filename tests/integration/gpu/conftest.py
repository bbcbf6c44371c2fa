"""A session and a detector on the doubles of CuPy and TensorRT, and the same detector on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import TRTRetinaFace
from engine.runtime.gpu.opening import open_tensorrt_session
from engine.runtime.gpu.session import TensorRTSession
from engine.sidecar import EngineFiles
from tests.support.doubles.tensorrt import FakeTensorRT


@pytest.fixture
def session(files: EngineFiles, trt: FakeTensorRT) -> TensorRTSession:
    session = open_tensorrt_session(files, 0)
    trt.call_log.clear()
    return session


@pytest.fixture
def detector(fp32_engine: Path, trt: FakeTensorRT) -> TRTRetinaFace:
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3)
    trt.call_log.clear()
    return detector


@pytest.fixture(scope="module")
def on_cpu(fp32_engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.3)
