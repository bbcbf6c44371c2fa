"""submit(), clone(), close() and with of a real detector on the CPU."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine import BatchQueue, ClosedError, InvalidArgumentError, Request, TRTRetinaFace
from engine.faces import Detections
from engine.types import Image
from tests.support.data import astronaut


@pytest.fixture
def detector(fp32_engine: Path) -> Iterator[TRTRetinaFace]:
    with TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.3) as detector:
        yield detector


def _images() -> list[Image]:
    photo = astronaut()
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (70, 200, 3), np.uint8)
    return [photo, photo[:300], photo[40:, 100:330], photo[::2, ::2], photo[:, ::-1], noise, noise[:1, :1]]


def _same(a: Detections, b: Detections) -> bool:
    assert a.landmarks is not None
    assert b.landmarks is not None
    return all(np.array_equal(x, y) for x, y in ((a.boxes, b.boxes), (a.scores, b.scores), (a.landmarks, b.landmarks)))


def test_answers_to_16_callers_equal_those_to_single_images(detector: TRTRetinaFace) -> None:
    images = _images()
    expected = [detector.detect(image) for image in images]
    assert len({len(faces) for faces in expected}) > 1

    def call(caller: int) -> int:
        order = [(caller + i) % len(images) for i in range(15)]
        return sum(_same(queue.submit(images[i]).result(60), expected[i]) for i in order)

    with BatchQueue([detector, detector.clone()]) as queue, ThreadPoolExecutor(16) as callers:
        assert sum(callers.map(call, range(16))) == 240


def test_submit_gathers_and_reports(detector: TRTRetinaFace) -> None:
    images = _images()[:4]
    requests = [detector.submit(image, score_threshold=0.6) for image in images]
    for image, request in zip(images, requests, strict=True):
        assert _same(request.result(60), detector.detect(image, score_threshold=0.6))
        assert next(iter(request.stages)) == "queueing"
    assert requests[-1].batch_size > 1


def test_a_closed_detector_has_finished_its_requests_and_says_that_it_is_closed(detector: TRTRetinaFace) -> None:
    clone = detector.clone()
    requests = [detector.submit(astronaut()) for _ in range(9)]
    detector.close()
    assert all(request.done() and len(request.result()) == 1 for request in requests)
    detector.close()
    for use in (detector.detect, detector.submit, lambda _: detector.clone()):
        with pytest.raises(ClosedError, match=r"faces\.engine is closed"):
            use(astronaut())
    assert len(clone.detect(astronaut())) == 1, "a clone is closed by itself"
    clone.close()


def test_a_callback_that_closes_the_detector_leaves_the_others_their_answers(detector: TRTRetinaFace) -> None:
    submitted, released = threading.Event(), threading.Event()
    requests, unanswered = list[Request](), list[Request]()

    def close_session() -> None:
        unanswered.extend(request for request in requests if not request.done())
        released.set()

    def close_detector(_: object) -> None:
        submitted.wait(10)
        detector.close()

    detector._session.close = close_session  # type: ignore[method-assign]
    first = detector.submit(astronaut())
    first.add_done_callback(close_detector)
    requests += [detector.submit(astronaut()) for _ in range(2 * detector.max_batch)]
    submitted.set()
    assert all(len(request.result(60)) == 1 for request in [first, *requests])
    assert released.wait(10)
    assert not unanswered


def test_closing_ends_the_threads(fp32_engine: Path) -> None:
    before = threading.active_count()
    with TRTRetinaFace(fp32_engine, "cpu") as detector:
        detector.submit(astronaut())
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_bad_requests_are_refused_at_once(detector: TRTRetinaFace) -> None:
    with pytest.raises(InvalidArgumentError, match=r"image, the file photo\.jpg, cannot be read"):
        detector.submit("photo.jpg")
    with pytest.raises(InvalidArgumentError, match="max_faces is 0, expected a whole number from 1"):
        detector.submit(astronaut(), max_faces=0)
    with pytest.raises(InvalidArgumentError, match=r"score_threshold is 0\.001"):
        detector.submit(astronaut(), score_threshold=0.001)


def test_a_forgotten_detector_goes_at_once(fp32_engine: Path) -> None:
    before = threading.active_count()
    detector = TRTRetinaFace(fp32_engine, "cpu")
    assert len(detector.submit(astronaut()).result()) == 1
    session = weakref.ref(detector._session)
    del detector
    deadline = time.monotonic() + 5
    while (session() is not None or threading.active_count() > before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session() is None, "a thread or a cycle keeps the network"
    assert threading.active_count() == before


def test_a_shallow_copy_shares_the_session(detector: TRTRetinaFace) -> None:
    shared = copy.copy(detector)
    assert shared._session is detector._session
    assert shared.detect(astronaut()) == detector.detect(astronaut())


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_process_forked_while_others_detect_detects_and_ends(fp32_engine: Path, library: str) -> None:
    program = f"""
import os, signal, sys, threading
from engine import TRTRetinaFace
from tests.support.data import astronaut
detector = TRTRetinaFace({str(fp32_engine)!r}, "cpu:{library}", threads=2)
images = [astronaut()] * 2
detector.detect(images), detector.submit(images[0]).result()
stop = threading.Event()

def work():
    while not stop.is_set():
        detector.detect(images), detector.detect(images[0])

thread = threading.Thread(target=work)
thread.start()
for way in range(4):
    process = os.fork()
    if process == 0:
        signal.alarm(60)
        if way % 2 == 0:
            print(*map(len, detector.detect(images)), len(detector.detect(images[0])), end=" ")
            print(len(detector.submit(images[0]).result()), flush=True)
        if way < 2:
            detector.close()
        sys.exit(0)  # frees everything, unlike os._exit
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
stop.set()
thread.join()
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert result.stdout.splitlines() == ["1 1 1 1", "0", "0", "1 1 1 1", "0", "0"], result.stderr


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_the_interpreter_ends_while_daemon_threads_detect(fp32_engine: Path, library: str) -> None:
    """They would come back from C++ while it ends, and abort the process."""
    program = f"""
import threading, time
from engine import TRTRetinaFace
from tests.support.data import astronaut
detector = TRTRetinaFace({str(fp32_engine)!r}, "cpu:{library}", threads=2)

def work(images):
    while True:
        detector.detect(images)

for images in (astronaut(), [astronaut()] * 3):
    threading.Thread(target=work, args=(images,), daemon=True).start()
time.sleep(0.5)
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
