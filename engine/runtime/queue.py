"""Dynamic batching: requests from many callers gathered into batches for one or several detectors."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from engine.errors import InvalidArgumentError
from engine.faces import Detections, Selection
from engine.inputs import as_image, check_color
from engine.runtime.forking import renew_in_child
from engine.runtime.requests import Request, RequestQueue, end
from engine.runtime.timing import Stages
from engine.runtime.workers import Worker, finish
from engine.types import AnyImage, Color, Image

DEFAULT_MAX_DELAY = 0.002
# Backpressure: refuse early rather than answer late. Waiting images also take memory.
DEFAULT_MAX_WAITING = 1024


class BatchDetector(Protocol):
    """What a queue runs batches on; TRTRetinaFace is one."""

    max_batch: int

    def check_threshold(self, score_threshold: float | None) -> float:
        """Return the score threshold to use for a given value or None; InvalidArgumentError if it is out of range."""

    def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
        """Detect in up to max_batch images and time each stage."""


class BatchQueue:
    """Gathers images into batches: a batch runs when it has max_batch images, or max_delay after its first one.

        with BatchQueue([detector, detector.clone()], max_delay=0.005) as queue:
            requests = [queue.submit(image) for image in images]
            faces = [request.result() for request in requests]

    Each detector runs in its own thread: with two, the CPU's work on one batch overlaps the GPU's work on another.
    Images of different sizes share a batch. If a batch fails, its images run one by one, so that only a faulty image
    fails. In a forked process the queue starts anew, and requests of before the fork fail.
    """

    def __init__(
        self,
        detectors: Sequence[BatchDetector],
        *,
        max_batch: int | None = None,
        max_delay: float = DEFAULT_MAX_DELAY,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
    ) -> None:
        """Prepare; the threads start with the first image.

        Args:
            detectors: of the same engine and settings. The caller closes them, after the queue.
            max_batch: images in one run; None is the limit of the detectors.
            max_delay: longest time in seconds that the first image of a batch waits for others. While all detectors are
                busy, images wait longer.
            max_waiting: images that may wait, not counting those that run; further ones are refused. None is no limit.

        Raises:
            InvalidArgumentError: there is no detector, or a setting is out of range.
        """
        if not detectors:
            raise InvalidArgumentError("detectors is empty, expected at least one")
        limit = min(detector.max_batch for detector in detectors)
        if max_batch is not None and not 1 <= max_batch <= limit:
            raise InvalidArgumentError(f"max_batch is {max_batch}, expected 1 to {limit}, the engine's largest batch")
        if not 0 <= max_delay <= threading.TIMEOUT_MAX:
            raise InvalidArgumentError(f"max_delay is {max_delay}, expected seconds from 0")
        if max_waiting is not None and max_waiting < 1:
            raise InvalidArgumentError(f"max_waiting is {max_waiting}, expected a number from 1, or None")
        self._detectors = tuple(detectors)
        self._requests = RequestQueue(max_batch or limit, max_delay, max_waiting, len(self._detectors))
        self._threads = self._new_threads()
        self._starting = threading.Lock()
        weakref.finalize(self, self._requests.close).atexit = False
        _open_queues.add(self)
        renew_in_child(self)

    def submit(
        self,
        image: AnyImage,
        *,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> Request:
        """Queue an image and return a future of its faces; see TRTRetinaFace.detect for the arguments.

        Files, images of Pillow, RGB and the like are converted here, in the caller's thread. An array in GPU memory is
        refused. A BGR array is read when its batch runs: do not change it before. Until then the request can be
        cancelled.

        Raises:
            InvalidArgumentError: the image is not one that detect takes, or another argument is out of range.
            QueueFullError: max_waiting images wait in the queue.
            ClosedError: the queue is closed.
            InferenceError: no thread can be started.
        """
        threshold = self._detectors[0].check_threshold(score_threshold)
        selection = Selection(min_size, max_faces)
        request = Request(self, as_image(image, "image", color=check_color(color)), threshold, selection)
        self._start()
        self._requests.add(request)
        return request

    def close(self, *, cancel: bool = False, then: Callable[[], object] | None = None) -> None:
        """Finish the submitted requests and end the threads. Closing twice is fine.

        A callback of a request may close the queue: close() then returns at once, as it cannot wait for its own thread.
        If close() is interrupted, by KeyboardInterrupt for example, it cancels the requests whose batch has not started
        and waits for the others before the interrupt is raised.

        Args:
            cancel: cancel the requests whose batch has not started.
            then: called when the queue has finished, by its last thread if a callback closes it.
        """
        if threading.current_thread() in self._threads:
            self._requests.close(cancel=cancel, then=then)
            return
        self._requests.close(cancel=cancel)
        finish(self._threads, stop=partial(self._requests.close, cancel=True))
        if then is not None:
            then()

    def __enter__(self) -> BatchQueue:
        """Return the queue itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an exception, cancel the requests whose batch has not started."""
        self.close(cancel=kind is not None)

    def _new_threads(self) -> list[Worker]:
        # They refer to the requests only, so that an unused BatchQueue is collected and ends them.
        count = len(self._detectors)
        return [Worker(partial(_work, self._requests, index), f"retinaface-batch-{index}") for index in range(count)]

    def _start(self) -> None:
        with self._starting:
            for thread in self._threads:
                if not thread.begun:
                    thread.start()

    def start_anew(self) -> None:
        """See Renewable: forgets the threads and the requests."""
        self._requests.start_anew(len(self._detectors))
        self._threads, self._starting = self._new_threads(), threading.Lock()

    def _run(self, index: int, batch: list[Request]) -> None:
        """Answer every request of a batch, whatever happens."""
        begin = time.perf_counter()
        try:
            found, stages = _detect(self._detectors[index], batch)
        except BaseException as error:  # of any kind: the caller gets it from the future
            if len(batch) == 1:
                end(batch[0], partial(batch[0].set_exception, error))
                return
        else:
            for request, faces in zip(batch, found, strict=True):
                waited = begin - request._submitted + stages.get("queueing", 0.0)
                request.stages = {"queueing": waited, **{k: v for k, v in stages.items() if k != "queueing"}}
                request.batch_size = len(batch)
                end(request, partial(request.set_result, faces))
            return
        for request in batch:
            self._run(index, [request])


def _work(requests: RequestQueue, index: int) -> None:
    """Run batches until the queue is closed and empty."""
    while (batch := requests.next_batch()) is not None:
        if batch:
            queue = batch[0]._queue
            assert queue is not None
            queue._run(index, batch)
            del queue
        del batch  # while the thread waits for the next one
    requests.leave()


def _detect(detector: BatchDetector, batch: list[Request]) -> tuple[list[Detections], Stages]:
    images = [request._image for request in batch if request._image is not None]
    threshold = min(request._score_threshold for request in batch)
    found, stages = detector.profile(images, score_threshold=threshold)
    chosen = [
        request._selection.of(faces.above(request._score_threshold))
        for request, faces in zip(batch, found, strict=True)
    ]
    return chosen, stages


_open_queues: weakref.WeakSet[BatchQueue] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Finish the submitted requests before the interpreter exits, which stops daemon threads at any point."""
    queues = list(_open_queues)

    def close(*, cancel: bool) -> None:
        for queue in queues:
            queue._requests.close(cancel=cancel)

    close(cancel=False)
    finish([thread for queue in queues for thread in queue._threads], stop=partial(close, cancel=True))
