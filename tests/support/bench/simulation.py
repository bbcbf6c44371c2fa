"""Simulated servers with known delays, in simulated and in real time."""

from __future__ import annotations

import heapq
import itertools
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from time import perf_counter, sleep
from typing import Any, TypeVar

import cv2
import numpy as np

from engine.bench.load.clock import Clock
from engine.bench.load.workload import Picture
from engine.faces import Detections
from engine.runtime.timing import Stages
from engine.types import Image

T = TypeVar("T")

NO_FACES = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), None)
PICTURES = (Picture("dot", cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes(), (1, 1)),)


class Request(Future[Detections]):
    """A request; the server calls answer()."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, float] = {}
        self.batch_size = 0

    def answer(self, queueing: float, service: float) -> None:
        self.stages, self.batch_size = {"queueing": queueing, "network": service}, 1
        self.set_result(NO_FACES)


class VirtualClock(Clock):
    """A simulated clock: time passes only when the caller waits."""

    def __init__(self) -> None:
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    def at(self, moment: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), work))

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def receive(self, inbox: queue.SimpleQueue[T], until: float) -> T | None:
        while inbox.empty() and self._events and self._events[0][0] <= until:
            moment, _, work = heapq.heappop(self._events)
            self._now = max(self._now, moment)
            work()
        if not inbox.empty():
            return inbox.get_nowait()
        self._now = max(self._now, until)
        return None


class AtOnce(Executor):
    """An executor that runs work in submit() itself."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class QueueingServer:
    """A server with one processor and a queue: submit() returns at once, each image takes the same time."""

    def __init__(self, clock: VirtualClock, service: float) -> None:
        self._clock, self._service = clock, service
        self._free = 0.0

    def submit(self, image: Image) -> Request:
        request = Request()
        now = self._clock.now()
        begin = max(now, self._free)
        self._free = begin + self._service
        self._clock.at(self._free, lambda: request.answer(begin - now, self._service))
        return request


class BlockingServer:
    """A detector without a queue: submit() blocks until the faces are found."""

    def __init__(self, clock: VirtualClock, service: float) -> None:
        self._clock, self._service = clock, service

    def submit(self, image: Image) -> Request:
        request = Request()
        self._clock.sleep(self._service)
        request.answer(0.0, self._service)
        return request


class StagedServer:
    """A server with one processor and a queue; a request takes several stages, and `gap` seconds outside of them."""

    def __init__(self, clock: VirtualClock, stages: Mapping[str, float], gap: float = 0.0) -> None:
        self._clock, self._stages, self._gap = clock, stages, gap
        self._free = 0.0

    def submit(self, image: Image) -> Request:
        request, now = Request(), self._clock.now()
        begin = max(now, self._free)
        self._free = begin + sum(self._stages.values()) + self._gap

        def answer() -> None:
            request.stages, request.batch_size = {"queueing": begin - now, **self._stages}, 1
            request.set_result(NO_FACES)

        self._clock.at(self._free, answer)
        return request


class SleepingDetector:
    """A detector that sleeps for the same time for each image, and records in `took` how long it really slept.

    It implements engine.runtime.queue.BatchDetector.
    """

    max_batch = 1

    def __init__(self, service: float) -> None:
        self._service = service
        self.took: list[float] = []

    def check_threshold(self, score_threshold: float | None) -> float:
        return 0.5

    def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
        begin = perf_counter()
        sleep(self._service)
        self.took.append(perf_counter() - begin)
        return [NO_FACES] * len(images), {"network": self.took[-1]}
