"""Dynamic batching: requests from many callers gathered into batches for one or several detectors."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from engine.errors import ClosedError, InferenceError, InvalidArgumentError, QueueFullError
from engine.faces import Detections, Selection
from engine.inputs import as_image, check_color
from engine.runtime.forking import renew_in_child
from engine.runtime.timing import Stages
from engine.runtime.workers import Worker, finish
from engine.types import AnyImage, Color, Image

DEFAULT_MAX_DELAY = 0.002
# Backpressure: refuse early rather than answer late. Waiting images also take memory.
DEFAULT_MAX_WAITING = 1024

_log = logging.getLogger("engine")


class BatchDetector(Protocol):
    """What a queue runs batches on; TRTRetinaFace is one."""

    max_batch: int

    def check_threshold(self, score_threshold: float | None) -> float:
        """Return the score threshold to use for a given value or None; InvalidArgumentError if it is out of range."""

    def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
        """Detect in up to max_batch images and time each stage."""


class Request(Future[Detections]):
    """A future of the faces of one image.

    Attributes:
        stages: seconds of each stage, once done. "queueing" is the time from submit() to the start of the batch, plus
            the wait for the detector; the other stages are those of the whole batch.
        batch_size: number of images in that batch, once done.
    """

    def __init__(self, queue: BatchQueue, image: Image, score_threshold: float, selection: Selection) -> None:
        """Start the clock."""
        super().__init__()
        self.stages: Stages = {}
        self.batch_size = 0
        # Keeps the queue alive until the request is done.
        self._queue: BatchQueue | None = queue
        self._image: Image | None = image
        self._score_threshold, self._selection = score_threshold, selection
        self._submitted = time.perf_counter()

    def _disown(self) -> None:
        """Fail, in a process that was forked before the answer; the callbacks are the other process's to call."""
        super().__init__()
        self._queue = self._image = None
        self.set_exception(
            InferenceError(
                "the image was submitted before this process was forked, so its faces are known to the other process "
                "only: submit it again"
            )
        )


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
                _end(batch[0], partial(batch[0].set_exception, error))
                return
        else:
            for request, faces in zip(batch, found, strict=True):
                waited = begin - request._submitted + stages.get("queueing", 0.0)
                request.stages = {"queueing": waited, **{k: v for k, v in stages.items() if k != "queueing"}}
                request.batch_size = len(batch)
                _end(request, partial(request.set_result, faces))
            return
        for request in batch:
            self._run(index, [request])


class RequestQueue:
    """The waiting requests, first in, first out, which threads take as batches."""

    def __init__(self, max_batch: int, max_delay: float, max_waiting: int | None, threads: int) -> None:
        self._max_batch, self._max_delay, self._max_waiting = max_batch, max_delay, max_waiting
        self._threads = threads
        self._at_end: list[Callable[[], object]] = []
        self._waiting: deque[Request] = deque()
        self._unanswered: set[Request] = set()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, request: Request) -> None:
        with self._changed:
            if self._closed:
                raise ClosedError("the queue is closed and takes no more images")
            if self._max_waiting is not None and len(self._waiting) >= self._max_waiting:
                raise QueueFullError(
                    f"{len(self._waiting)} images wait in the queue, max_waiting allows no more: submit again later"
                )
            self._unanswered.add(request)
            self._waiting.append(request)
            # Only the first request, which starts the delay, and a full batch concern a thread.
            if len(self._waiting) == 1 or len(self._waiting) >= self._max_batch:
                self._changed.notify()

    def close(self, *, cancel: bool = False, then: Callable[[], object] | None = None) -> None:
        with self._changed:
            self._closed = True
            if then is not None:
                self._at_end.append(then)
            cancelled = list(self._waiting) if cancel else []
            if cancel:
                self._waiting.clear()
            self._changed.notify_all()
        for request in cancelled:  # outside the lock, as it calls callbacks
            _end(request, request.cancel)
            request.set_running_or_notify_cancel()

    def next_batch(self) -> list[Request] | None:
        """Wait for a batch; None once the queue is closed and empty. A batch may be empty: all of it was cancelled."""
        with self._changed:
            while not self._is_due():
                if self._closed and not self._waiting:
                    return None
                self._changed.wait(self._time_left())
            taken = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            if self._waiting:
                self._changed.notify()  # for the delay of the remaining ones
        batch = [request for request in taken if request.set_running_or_notify_cancel()]
        for request in taken:
            if request.cancelled():
                _forget(request)
        return batch

    def forget(self, request: Request) -> None:
        """Called before a request is answered."""
        self._unanswered.discard(request)

    def start_anew(self, threads: int) -> None:
        """See Renewable; threads is their number."""
        self._changed, self._threads = threading.Condition(), threads
        self._at_end.clear()
        self._waiting.clear()
        for request in self._unanswered:
            request._disown()
        self._unanswered.clear()

    def leave(self) -> None:
        """Called as a thread ends; in the last one, run the actions of close()."""
        with self._changed:
            self._threads -= 1
            actions = [] if self._threads else self._at_end
        for action in actions:
            action()

    def _is_due(self) -> bool:
        full = len(self._waiting) >= self._max_batch
        return bool(self._waiting) and (self._closed or full or self._time_left() == 0)

    def _time_left(self) -> float | None:
        if not self._waiting:
            return None
        return max(0.0, self._waiting[0]._submitted + self._max_delay - time.perf_counter())


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


def _end(request: Request, end: Callable[[], object]) -> None:
    """Answer or cancel a request. Exceptions of its callbacks are logged and do not affect other requests."""
    _forget(request)
    try:
        end()
    except BaseException:  # a Future catches Exception, but not SystemExit and the like
        _log.exception("a callback of a request failed")


def _forget(request: Request) -> None:
    """Drop the references of a finished request, which the caller may keep for long."""
    if request._queue is not None:
        request._queue._requests.forget(request)
    request._queue = request._image = None


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
