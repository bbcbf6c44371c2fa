"""Engines of a small network that were built before models had other heads than the published ones: they load for good.

Their plan is a stand-in, as no CPU reads it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import TRTRetinaFace
from engine.config.presets import preset
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.sidecar import network_path

FOLDER = Path(__file__).with_name("built_before")


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_engines_built_before_load_and_find_what_their_networks_find(name: str) -> None:
    """With the bits that today's preset and decoding give for the network alone."""
    image = np.random.default_rng(0).integers(60, 160, (96, 64, 3)).astype(np.uint8)
    with TRTRetinaFace(FOLDER / f"{name}.engine", "cpu:onnxruntime", threads=1) as detector:
        found = detector.detect(image, score_threshold=0.02)
        sidecar, size = detector.sidecar, detector.input_size
    assert sidecar.precision.mode == name
    assert sidecar.plugins.versions == {"RetinaFaceDecode": "1", "RetinaFaceNMS": "1"}
    assert sidecar.config == preset("mobilenet0.25")
    assert sidecar.meshes is None
    content = network_path(FOLDER / f"{name}.engine").read_bytes()
    alone = NetworkDetector(content, preset("mobilenet0.25"), size)
    assert [found] == alone.detect([image])
    assert len(found) > 1
    assert found.landmarks is not None
    assert (found.classes, found.vertices, found.values) == (None, None, {})
