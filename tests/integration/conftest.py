"""Engines that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.export.network import InputSize
from tests.engines import build


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
