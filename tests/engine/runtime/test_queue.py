"""The queue: no request is lost or mixed up, whatever requests, callers and detectors do."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import numpy as np
import pytest

from engine.errors import ClosedError, InferenceError, InvalidArgumentError, QueueFullError
from engine.faces import Detections
from engine.runtime.queue import BatchQueue
from engine.runtime.requests import Request
from engine.runtime.timing import Stages
from engine.types import Image

POISON = 255  # the level of images that make a run fail


class Double:
    """A detector whose answer depends on the image alone: its size and its first level."""

    def __init__(self, max_batch: int = 8, seconds: float = 0.0) -> None:
        self.max_batch, self.seconds = max_batch, seconds
        self.batches: list[int] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.running = threading.Lock()

    def check_threshold(self, value: float | None) -> float:
        if value is not None and not 0.1 <= value <= 1:
            raise InvalidArgumentError(f"score_threshold is {value}")
        return 0.5 if value is None else value

    def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
        assert self.running.acquire(blocking=False), "one detector ran twice at a time"
        try:
            self.may_run.wait()
            time.sleep(self.seconds)
            self.batches.append(len(images))
            if any(image[0, 0, 0] == POISON for image in images):
                raise InferenceError("poisoned")
            return [answer(image).above(score_threshold) for image in images], {"network": self.seconds}
        finally:
            self.running.release()


def answer(image: Image) -> Detections:
    """As many faces as the first level says, at most ten; scores 1, 0.9 and so on."""
    count = 1 + int(image[0, 0, 0]) % 10
    scores = np.linspace(1, 0.1, 10, dtype=np.float32)[:count]
    boxes = np.tile(np.array([*image.shape[:2], *image[0, 0, :2]], np.float32), (count, 1))
    return Detections(boxes, scores, None)


def image_of(seed: int) -> Image:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    return rng.integers(0, POISON, (height, width, 3), np.uint8)


def same(a: Detections, b: Detections) -> bool:
    return np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def test_10000_requests_of_16_callers_each_get_their_own_answer() -> None:
    detectors = [Double(), Double()]
    images = [image_of(seed) for seed in range(500)]
    thresholds = (0.15, 0.5, 0.75)

    def call(caller: int) -> int:
        right = 0
        for i in range(625):
            image, threshold = images[(caller * 37 + i) % 500], thresholds[(caller + i) % 3]
            right += same(queue.submit(image, score_threshold=threshold).result(60), answer(image).above(threshold))
        return right

    with BatchQueue(detectors, max_delay=0.001) as queue, ThreadPoolExecutor(16) as callers:
        assert sum(callers.map(call, range(16))) == 10_000
    sizes = Counter(detectors[0].batches + detectors[1].batches)
    assert sum(size * count for size, count in sizes.items()) == 10_000
    assert max(sizes) == 8, "sixteen callers never filled a batch"
    assert all(detector.batches for detector in detectors)


def test_a_batch_leaves_when_it_is_full_or_when_the_first_image_has_waited() -> None:
    detector = Double(max_batch=4)
    with BatchQueue([detector], max_delay=30) as queue:
        full = [queue.submit(image_of(seed)) for seed in range(4)]
        wait(full, timeout=60)
        assert [request.batch_size for request in full] == [4] * 4
        assert max(request.stages["queueing"] for request in full) < 30
    with BatchQueue([detector], max_delay=0.2) as queue:
        few = [queue.submit(image_of(seed)) for seed in range(3)]
        wait(few, timeout=10)
        assert [request.batch_size for request in few] == [3] * 3
        assert 0.2 <= few[0].stages["queueing"] < 2
        assert list(few[0].stages) == ["queueing", "network"]
    assert detector.batches == [4, 3]


def test_without_delay_an_idle_detector_begins_at_once() -> None:
    with BatchQueue([Double()], max_delay=0) as queue:
        assert queue.submit(image_of(1)).result(10) is not None


def test_two_detectors_work_at_the_same_time() -> None:
    meet = threading.Barrier(2)

    class Meeting(Double):
        def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
            meet.wait(10)
            return super().profile(images, score_threshold=score_threshold)

    detectors = [Meeting(4), Meeting(4)]
    with BatchQueue(detectors, max_delay=10) as queue:
        requests = [queue.submit(image_of(seed)) for seed in range(8)]
    assert all(request.exception() is None for request in requests)
    assert [detector.batches for detector in detectors] == [[4], [4]]


def test_a_smaller_batch_than_the_detector_s() -> None:
    detector = Double(8)
    with BatchQueue([detector], max_batch=3, max_delay=5) as queue:
        wait([queue.submit(image_of(seed)) for seed in range(6)], timeout=10)
    assert detector.batches == [3, 3]


def test_an_image_that_fails_leaves_its_neighbours_alone() -> None:
    detector = Double(8)
    bad = np.full((3, 3, 3), POISON, np.uint8)
    images = [image_of(seed) for seed in range(7)]
    images.insert(3, bad)
    with BatchQueue([detector], max_delay=5) as queue:
        requests = [queue.submit(image) for image in images]
        for image, request in zip(images, requests, strict=True):
            if image is bad:
                with pytest.raises(InferenceError, match="poisoned"):
                    request.result(10)
            else:
                assert same(request.result(10), answer(image).above(0.5))
                assert request.batch_size == 1
    assert detector.batches == [8] + [1] * 8


def test_a_detector_that_returns_too_few_results_mixes_nothing() -> None:
    class Short(Double):
        def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
            found, stages = super().profile(images, score_threshold=score_threshold)
            return found[: max(1, len(found) - 1)], stages

    images = [image_of(seed) for seed in range(4)]
    with BatchQueue([Short(4)], max_delay=5) as queue:
        requests = [queue.submit(image) for image in images]
        assert all(same(r.result(10), answer(image).above(0.5)) for r, image in zip(requests, images, strict=True))


def test_cancelled_requests_are_not_run_and_the_others_are() -> None:
    detector = Double(4)
    detector.may_run.clear()
    with BatchQueue([detector], max_delay=0) as queue:
        first = queue.submit(image_of(0))
        until(first.running)
        requests = [queue.submit(image_of(seed)) for seed in range(1, 9)]
        assert not first.cancel()
        assert all(request.cancel() for request in requests[::2])
        detector.may_run.set()
        for seed, request in enumerate(requests, 1):
            if seed % 2:
                with pytest.raises(CancelledError):
                    request.result(10)
            else:
                assert same(request.result(10), answer(image_of(seed)).above(0.5))
    assert sum(detector.batches) == 5


def test_a_cancelled_request_keeps_no_image_while_it_waits() -> None:
    detector = Double(1)
    detector.may_run.clear()
    with BatchQueue([detector], max_delay=0) as queue:
        queue.submit(image_of(0))
        until(lambda: detector.running.locked())
        image = image_of(1).copy()
        alive, waiting = weakref.ref(image), queue.submit(image)
        del image
        assert alive() is not None
        assert waiting.cancel()
        gc.collect()
        assert alive() is None
        detector.may_run.set()


def test_closing_under_load_finishes_what_was_submitted_and_takes_no_more() -> None:
    detectors = [Double(4, 0.001), Double(4, 0.001)]
    queue = BatchQueue(detectors, max_delay=0.001, max_waiting=None)
    accepted: list[tuple[Image, Request]] = []

    def call(caller: int) -> None:
        for seed in range(10_000):
            image = image_of(caller * 100 + seed % 100)
            try:
                accepted.append((image, queue.submit(image)))
            except ClosedError:
                return
        raise AssertionError("the queue was never closed")

    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(call, caller) for caller in range(8)]
        until(lambda: len(accepted) > 200)
        queue.close()
        assert all(request.done() for _, request in list(accepted))
    for one in calls:
        one.result()
    assert all(same(request.result(0), answer(image).above(0.5)) for image, request in accepted)
    queue.close()


def test_closing_with_cancel_answers_or_cancels_every_request() -> None:
    detector = Double(4)
    detector.may_run.clear()
    queue = BatchQueue([detector], max_delay=0)
    requests = [queue.submit(image_of(0))]
    until(requests[0].running)
    requests += [queue.submit(image_of(seed)) for seed in range(1, 100)]
    requests[50].cancel()
    closing = threading.Thread(target=lambda: queue.close(cancel=True))
    closing.start()
    until(lambda: all(request.cancelled() for request in requests[1:]))
    detector.may_run.set()
    closing.join(10)
    assert same(requests[0].result(0), answer(image_of(0)).above(0.5))
    assert wait(requests, timeout=0).not_done == set()


def test_an_exception_inside_with_cancels_what_waits() -> None:
    detector = Double(1, 0.05)
    queue = BatchQueue([detector])
    requests = [queue.submit(image_of(seed)) for seed in range(50)]
    with pytest.raises(ZeroDivisionError), queue:
        raise ZeroDivisionError
    assert all(request.done() for request in requests)
    assert sum(detector.batches) < 50


def test_callbacks_may_submit_and_close() -> None:
    queue = BatchQueue([Double()], max_delay=0)
    second: list[Request] = []
    done = threading.Event()

    def close(_: object) -> None:
        queue.close()
        done.set()

    def submit(_: object) -> None:
        second.append(queue.submit(image_of(2)))
        second[0].add_done_callback(close)

    queue.submit(image_of(1)).add_done_callback(submit)
    assert done.wait(10)
    assert same(second[0].result(0), answer(image_of(2)).above(0.5))


@pytest.mark.parametrize("fails", [False, True])
def test_a_callback_that_ends_its_thread_ends_nothing_else(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """SystemExit passes through Future.set_result; it must stop neither the batch nor the queue."""
    images = [np.full((3, 3, 3), POISON, np.uint8) if fails else image_of(0), image_of(1), image_of(2)]
    with BatchQueue([Double(3)], max_delay=5) as queue:
        requests = [queue.submit(image) for image in images[:2]]
        requests[0].add_done_callback(lambda _: sys.exit(1))
        requests.append(queue.submit(images[2]))
        assert [request.exception(10) is None for request in requests] == [not fails, True, True]
        assert same(requests[2].result(10), answer(images[2]).above(0.5))
        later = [queue.submit(image_of(seed)) for seed in range(3)]
        assert wait(later, timeout=10).not_done == set()
    assert [record.getMessage() for record in caplog.records] == ["a callback of a request failed"]


def test_cancelling_survives_callbacks_too() -> None:
    detector = Double(1)
    detector.may_run.clear()
    queue = BatchQueue([detector], max_delay=0)
    running = queue.submit(image_of(0))
    until(running.running)
    waiting = [queue.submit(image_of(seed)) for seed in range(3)]
    waiting[0].add_done_callback(lambda _: sys.exit(1))
    running.add_done_callback(lambda _: queue.close(cancel=True))
    detector.may_run.set()
    assert wait([running, *waiting], timeout=10).not_done == set()
    assert all(request.cancelled() for request in waiting)


def test_two_callbacks_that_close_at_the_same_time_do_not_wait_for_each_other() -> None:
    meet, done = threading.Barrier(2), threading.Semaphore(0)
    queue = BatchQueue([Double(1), Double(1)], max_delay=0)
    ended = threading.Event()

    def close(_: object) -> None:
        meet.wait(10)
        queue.close(then=ended.set)
        done.release()

    for seed in range(2):
        queue.submit(image_of(seed)).add_done_callback(close)
    assert done.acquire(timeout=10)
    assert done.acquire(timeout=10)
    assert ended.wait(10), "the last thread does what comes after the queue"


def test_one_image_more_than_may_wait_is_refused() -> None:
    detector = Double(2)
    detector.may_run.clear()
    with BatchQueue([detector], max_delay=0, max_waiting=3) as queue:
        running = queue.submit(image_of(0))
        until(running.running)
        waiting = [queue.submit(image_of(seed)) for seed in range(3)]
        with pytest.raises(QueueFullError, match="3 images wait in the queue"):
            queue.submit(image_of(9))
        detector.may_run.set()
        assert wait([running, *waiting], timeout=10).not_done == set()
        assert queue.submit(image_of(9)).result(10) is not None
    with pytest.raises(InvalidArgumentError, match="max_waiting is 0"):
        BatchQueue([detector], max_waiting=0)
    with BatchQueue([Double()], max_waiting=None) as queue:
        assert len(queue.submit(image_of(1)).result(10)) > 0


def test_a_detector_s_own_waiting_counts_as_queueing() -> None:
    class Shared(Double):
        def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
            found, _ = super().profile(images, score_threshold=score_threshold)
            return found, {"queueing": 100.0, "network": 1.0}

    with BatchQueue([Shared()], max_delay=0) as queue:
        request = queue.submit(image_of(1))
        request.result(10)
    assert list(request.stages) == ["queueing", "network"]
    assert 100 < request.stages["queueing"] < 110


def test_a_queue_that_nobody_remembers_finishes_its_requests_and_ends_its_threads() -> None:
    before = threading.active_count()
    detector = Double(4, 0.05)
    request = BatchQueue([detector], max_delay=0).submit(image_of(3))
    assert same(request.result(10), answer(image_of(3)).above(0.5))
    forgotten = weakref.ref(detector)
    del detector

    def gone() -> bool:
        gc.collect()
        return forgotten() is None and threading.active_count() == before

    until(gone)


def test_requests_are_finished_before_the_interpreter_ends() -> None:
    program = """
from tests.engine.runtime.test_queue import BatchQueue, Double, image_of
queue = BatchQueue([Double(1, 0.02)])
for seed in range(10):
    queue.submit(image_of(seed)).add_done_callback(lambda r: print(len(r.result()) > 0))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["True"] * 10
    assert not result.stderr


def _in_child(work: Callable[[], bool]) -> None:
    """Run `work` in a forked process, which must end within 20 seconds."""
    process = os.fork()
    if process == 0:
        signal.alarm(20)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(process, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking with threads
def test_a_forked_process_starts_its_queue_anew() -> None:
    detector = Double(2)
    called: list[object] = []
    with BatchQueue([detector], max_delay=0) as queue:
        answered = queue.submit(image_of(0))
        expected = answered.result(10)
        detector.may_run.clear()
        requests = [queue.submit(image_of(1))]
        until(detector.running.locked)
        requests += [queue.submit(image_of(seed)) for seed in range(5)]
        for request in requests:
            request.add_done_callback(called.append)

        def work() -> bool:
            assert same(answered.result(0), expected)
            assert wait(requests, timeout=5).not_done == set()
            for request in requests:
                with pytest.raises(InferenceError, match="before this process was forked"):
                    request.result(0)
            assert called == []
            detector.running, detector.may_run = threading.Lock(), threading.Event()
            detector.may_run.set()
            again = [queue.submit(image_of(seed)) for seed in range(5)]
            assert all(same(request.result(10), answer(image_of(i)).above(0.5)) for i, request in enumerate(again))
            queue.close()
            return True

        _in_child(work)
        detector.may_run.set()
        assert wait(requests, timeout=10).not_done == set()
        assert all(request.exception(0) is None for request in requests)
    assert len(called) == len(requests)

    def closed() -> bool:
        with pytest.raises(ClosedError):
            queue.submit(image_of(0))
        return True

    _in_child(closed)


@pytest.mark.parametrize("at_exit", [False, True])
def test_closing_that_is_interrupted_cancels_what_waits_and_ends_the_threads(at_exit: bool) -> None:
    program = f"""
import os, signal, threading, time
from tests.engine.runtime.test_queue import BatchQueue, Double, image_of

class Noted(Double):
    def profile(self, images, *, score_threshold):
        try:
            return super().profile(images, score_threshold=score_threshold)
        finally:
            print("ran", flush=True)

detector = Noted(1, 0.5)
queue = BatchQueue([detector], max_delay=0)
requests = [queue.submit(image_of(seed)) for seed in range(100)]

def interrupt():
    while not detector.running.locked():
        time.sleep(0.001)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
if not {at_exit}:
    try:
        queue.close()
    except KeyboardInterrupt:
        print("interrupted", sum(request.cancelled() for request in requests), flush=True)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    expected = ["ran"] if at_exit else ["ran", "interrupted", "99"]
    assert result.stdout.split() == expected, result.stderr
    assert ("KeyboardInterrupt" in result.stderr) == at_exit


@pytest.mark.parametrize(
    ("image", "threshold", "message"),
    [
        (None, None, "image is a NoneType"),
        (np.zeros((4, 4, 2), np.uint8), None, r"image has shape \(4, 4, 2\)"),
        (np.zeros((4, 4, 3), np.float32), None, "image has dtype float32"),
        (np.zeros((4, 4, 3), np.uint8), 2.0, "score_threshold is 2.0"),
    ],
)
def test_bad_requests_are_refused_at_once(image: Image, threshold: float | None, message: str) -> None:
    with BatchQueue([Double()]) as queue, pytest.raises(InvalidArgumentError, match=message):
        queue.submit(image, score_threshold=threshold)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="detectors is empty"):
        BatchQueue([])
    with pytest.raises(InvalidArgumentError, match="max_batch is 9, expected 1 to 8"):
        BatchQueue([Double(9), Double(8)], max_batch=9)
    for delay in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidArgumentError, match=f"max_delay is {delay}"):
            BatchQueue([Double()], max_delay=delay)
