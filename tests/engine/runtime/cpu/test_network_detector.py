"""Detecting with a network without an engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.config.detection import Thresholds
from engine.config.presets import preset
from engine.errors import EngineLoadError, InvalidArgumentError
from engine.metrics.agreement import agreement
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.types import Image
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.engines import network
from tests.support.oracles.boxes import iou

pytestmark = pytest.mark.slow
CONFIG = preset("mobilenet0.25")


@pytest.fixture(scope="module")
def exported() -> bytes:
    return bytes(network("fp32").SerializeToString())


@pytest.fixture(scope="module")
def detector(exported: bytes) -> NetworkDetector:
    return NetworkDetector(exported, CONFIG, (320, 320))


def test_the_face_is_found(detector: NetworkDetector) -> None:
    (faces,) = detector.detect([astronaut()], score_threshold=0.5)
    assert iou(faces.boxes[0].astype(float), ASTRONAUT_FACE) >= 0.6
    assert len(detector.detect([astronaut()])[0]) >= len(faces)
    assert detector.detect([]) == []


def test_images_are_taken_one_by_one(detector: NetworkDetector) -> None:
    alive: list[int] = []

    def pictures() -> Iterator[Image]:
        for index in range(3):
            alive.append(index)
            yield astronaut()[: 512 - 20 * index]

    found = detector.detect(pictures(), score_threshold=0.5)
    assert alive == [0, 1, 2]
    assert [len(faces) for faces in found] == [1, 1, 1]


def test_a_cast_network_agrees(detector: NetworkDetector) -> None:
    photo = astronaut()
    pictures = [photo, photo[:, ::-1].copy(), photo[:300, 100:400]]
    cast = NetworkDetector(network("fp16"), CONFIG, (320, 320))
    result = agreement(detector.detect(pictures), cast.detect(pictures))
    assert result.faces == result.matched == 3
    assert result.iou is not None
    assert result.iou.minimum >= 0.99
    assert result.at(0.5).lost == result.at(0.5).new == 0


def test_thresholds_are_those_that_are_given(exported: bytes) -> None:
    thresholds = Thresholds(score=0.6, max_detections=1)
    detector = NetworkDetector(exported, CONFIG, (320, 320), thresholds=thresholds)
    wide = np.hstack([astronaut(), astronaut()])
    (faces,) = detector.detect([wide])
    assert len(faces) == 1
    with pytest.raises(InvalidArgumentError, match=r"score_threshold is 0\.5, expected 0\.6 to 1"):
        detector.detect([wide], score_threshold=0.5)


def test_bad_input_is_refused(detector: NetworkDetector, exported: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"images\[1\] has dtype float64"):
        detector.detect([astronaut(), np.zeros((5, 5, 3))])  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match="multiple of 32"):
        NetworkDetector(exported, CONFIG, (321, 320))
    with pytest.raises(EngineLoadError, match="the network cannot be used: it is damaged or not an ONNX file"):
        NetworkDetector(b"no network", CONFIG)
