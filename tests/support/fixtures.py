"""Fixtures of engines that tests of several folders share; their conftest.py files import them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import TRTRetinaFace
from engine.config.detection import InputSize
from tests.support.engines import build


@pytest.fixture(scope="session")
def ranged_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP32 engine with the default weights, for inputs from 320 x 320 to 960 x 960."""
    path = tmp_path_factory.mktemp("ranged") / "faces.engine"
    build(path, precision="fp32", size=InputSize((320, 320), (640, 640), (960, 960)), max_batch=2)
    return path


@pytest.fixture(scope="session")
def ranged_detector(ranged_engine: Path) -> TRTRetinaFace:
    """A CPU detector with that engine."""
    return TRTRetinaFace(ranged_engine, "cpu")
