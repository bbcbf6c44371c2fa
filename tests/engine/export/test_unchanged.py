"""What is appended to networks with published heads, byte for byte as in the release that knew no others.

Engines, caches and users' own records name networks by digests of their bytes.
"""

from __future__ import annotations

import hashlib

import onnx
import pytest

from engine.config.detection import Thresholds
from engine.config.presets import preset
from engine.export.attach import attach_detection
from engine.export.standard import surround
from tests.engine.export.tails import RANGE, pass_through

# SHA-256, the first 16 digits: with the plugins, with NonMaxSuppression, with a Loop. Written by the code before it
# took heads of other kinds.
DIGESTS = {
    "mobilenet0.25": ("7966acbe6944de29", "b440495acffda07b", "782b4a82f6d2af10"),
    "insightface-mobilenet0.25": ("c6872871dc628b89", "62f9c8747988a31c", "afddd11369f22197"),
    "resnet18-lite": ("6666b58b92e56e1c", "3237b0f617c73ae4", "8cf944522f64767c"),
    "context": ("9bc55d94494c7741", "2906240d9650dd8b", "3e4cc9a896dbf51b"),
    "full": ("910e6e97c984bb31", "7a6119aa66f4090f", "41191e64adc7f3be"),
    "retinaface-resnet50": ("910e6e97c984bb31", "7632c387b6fb083e", "3c12aeb67c034e9a"),
}


@pytest.mark.parametrize("name", DIGESTS)
def test_published_heads_give_the_bytes_of_before(name: str) -> None:
    config, thresholds = preset(name), Thresholds()
    network = pass_through(config, RANGE)
    models = [
        attach_detection(network, config, thresholds),
        *(surround(network, config, thresholds, RANGE, method) for method in ("nms", "loop")),
    ]
    assert tuple(map(_digest, models)) == DIGESTS[name]


def _digest(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:16]
