"""Fixtures of the precision tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from engine.config.detection import InputSize
from engine.config.presets import preset
from engine.model.weights.load import load_model
from engine.precision.qdq.graph import Graph
from tests.support import graphs
from tests.support.shared import exported


@pytest.fixture
def graph() -> Graph:
    """The tiny detector."""
    return Graph(graphs.tiny_detector(), graphs.SIZE)


@pytest.fixture(scope="session")
def mobilenet() -> onnx.ModelProto:
    """mobilenet0.25 with random weights, as exported, for 96 x 96 pixels."""
    model, _ = load_model(preset("mobilenet0.25"), "random")
    return exported(model, InputSize.fixed(96, 96))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six pictures of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for i in range(6):
        small = rng.integers(0, 256, (6 + i, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"photo{i}.png"), cv2.resize(small, None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC))
    return folder
