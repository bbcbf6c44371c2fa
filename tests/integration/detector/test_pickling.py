"""A detector that is pickled is opened anew where it is unpickled."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine import ClosedError, Detections, EngineLoadError, TRTRetinaFace
from tests.support.data import astronaut


def detect_there(detector: TRTRetinaFace) -> tuple[int, Detections, Detections]:
    """What the other process finds, directly and through the queue."""
    with detector:
        return os.getpid(), detector.detect(astronaut()), detector.submit(astronaut()).result(60)


def test_a_spawned_process_detects_the_same(fp16_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a relative path, and with settings that all change what is found."""
    monkeypatch.chdir(fp16_engine.parent)
    options: dict[str, Any] = {"input_size": (352, 416), "score_threshold": 0.05, "enlarge": True, "threads": 1}
    detector = TRTRetinaFace(fp16_engine.name, "cpu:onnxruntime", **options)
    monkeypatch.chdir(tmp_path)
    detector.submit(astronaut()).result(60)  # its queue's thread stays here
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        process, found, queued = pool.submit(detect_there, detector).result(120)
    assert process != os.getpid()
    assert found == queued == detector.detect(astronaut())
    assert found.image_size == (512, 512)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda detector: pickle.loads(pickle.dumps(detector))])
def test_a_copy_is_a_detector_of_its_own(fp16_engine: Path, duplicate: Callable[[Any], Any]) -> None:
    detector = TRTRetinaFace(fp16_engine, "cpu", input_size=(320, 320), score_threshold=0.3, enlarge=True, threads=1)
    for original in (detector, detector.clone()):
        with duplicate(original) as other:
            assert other._session is not original._session
            assert (other.input_size, other.score_threshold) == ((320, 320), 0.3)
            assert other._letterbox == original._letterbox
            assert other.detect(astronaut()) == original.detect(astronaut())
        assert len(original.detect(astronaut())) == 1


def test_a_closed_detector_refuses(fp32_engine: Path) -> None:
    detector = TRTRetinaFace(fp32_engine, "cpu")
    detector.close()
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(ClosedError, match=r"faces\.engine is closed"):
            attempt(detector)


def test_an_engine_that_is_gone_is_named_where_it_is_opened(fp16_engine: Path, tmp_path: Path) -> None:
    for file in fp16_engine.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with TRTRetinaFace(tmp_path / fp16_engine.name, "cpu") as detector:
        pickled = pickle.dumps(detector)
    (tmp_path / fp16_engine.name).unlink()
    with pytest.raises(EngineLoadError, match=r"faces\.engine cannot be read: No such file"):
        pickle.loads(pickled)
