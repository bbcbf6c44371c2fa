"""Requests from many callers, gathered into batches for one or several detectors."""

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

from engine.errors import ClosedError, InvalidArgumentError, QueueFullError
from engine.runtime.letterbox import check_image
from engine.runtime.timing import Stages
from engine.types import Detections, Image

DEFAULT_MAX_DELAY = 0.002
# Seconds of work for most detectors: who comes behind so many is better told at once than answered too late, and images
# that wait need memory.
DEFAULT_MAX_WAITING = 1024

_log = logging.getLogger("engine")


class BatchDetector(Protocol):
    """What a queue runs batches on; TRTRetinaFace is one."""

    max_batch: int

    def check_threshold(self, score_threshold: float | None) -> float:
        """Return the threshold that a value, or None, means.

        Raises:
            InvalidArgumentError: it is out of range.
        """

    def profile(self, images: Sequence[Image], *, score_threshold: float) -> tuple[list[Detections], Stages]:
        """Detect in up to max_batch images, and say how long each stage took."""


class Request(Future[Detections]):
    """The coming faces of one image.

    Attributes:
        stages: how long each stage took in seconds, once done: "queueing" from submit() to the start of the batch, and
            while others had the detector, then the stages of the batch that the image was in, undivided. Empty before.
        batch_size: images of that batch; 0 before.
    """

    def __init__(self, queue: BatchQueue, image: Image, score_threshold: float) -> None:
        """Start the clock."""
        super().__init__()
        self.stages: Stages = {}
        self.batch_size = 0
        # The queue lives as long as a request of it is not done, even where nobody else remembers it.
        self._queue: BatchQueue | None = queue
        self._image: Image | None = image
        self._score_threshold = score_threshold
        self._submitted = time.perf_counter()


class BatchQueue:
    """Gathers images until there are max_batch of them, or max_delay has passed since the first one.

        with BatchQueue([detector, detector.clone()], max_delay=0.005) as queue:
            requests = [queue.submit(image) for image in images]
            faces = [request.result() for request in requests]

    Each detector has a thread of its own, so that with two the CPU's share of one batch hides behind the GPU's share of
    another. Images of any sizes share a batch. A batch that fails is run again image by image, so that an image fails
    only through a fault of its own.
    """

    def __init__(
        self,
        detectors: Sequence[BatchDetector],
        *,
        max_batch: int | None = None,
        max_delay: float = DEFAULT_MAX_DELAY,
        max_waiting: int | None = DEFAULT_MAX_WAITING,
    ) -> None:
        """Start the threads.

        Args:
            detectors: of the same engine and settings; they stay the caller's, who closes them after the queue.
            max_batch: images in one run; None is the detectors' own.
            max_delay: seconds that the first image of a batch waits for others at most. While all detectors are busy
                images gather without it.
            max_waiting: images that wait at most, those in a run not among them; None is any number. One more is
                refused.

        Raises:
            InvalidArgumentError: no detector, a max_batch below 1 or above theirs, a negative max_delay, a max_waiting
                below 1.
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
        self._line = _Line(limit if max_batch is None else max_batch, max_delay, max_waiting, len(self._detectors))
        # The threads know the line only: a queue that nobody remembers can go, and they end with it.
        self._threads = [
            threading.Thread(target=_work, args=(self._line, index), name=f"retinaface-batches-{index}", daemon=True)
            for index in range(len(self._detectors))
        ]
        weakref.finalize(self, self._line.close).atexit = False
        _open_queues.add(self)
        for thread in self._threads:
            thread.start()

    def submit(self, image: Image, *, score_threshold: float | None = None) -> Request:
        """Queue an image and return its request, a future of Detections; see TRTRetinaFace.detect for the arguments.

        The image is read when its batch runs: do not write to it before. cancel() works until then.

        Raises:
            InvalidArgumentError: not such an image, or a threshold out of range.
            QueueFullError: max_waiting images wait already.
            ClosedError: the queue is closed.
        """
        threshold = self._detectors[0].check_threshold(score_threshold)
        request = Request(self, check_image(image, "image"), threshold)
        self._line.add(request)
        return request

    def close(self, *, cancel: bool = False, then: Callable[[], object] | None = None) -> None:
        """Finish what was submitted, or cancel what has not begun, and end the threads. Closing twice is fine.

        A callback of a request may close the queue. It does not wait, as it would for its own thread.

        Args:
            cancel: what has not begun.
            then: called when the queue has finished, by the last of its threads if a callback closes it.
        """
        if threading.current_thread() in self._threads:
            self._line.close(cancel=cancel, then=then)
            return
        self._line.close(cancel=cancel)
        for thread in self._threads:
            thread.join()
        if then is not None:
            then()

    def __enter__(self) -> BatchQueue:
        """Return the queue itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an exception, cancel what has not begun."""
        self.close(cancel=kind is not None)

    def _run(self, index: int, batch: list[Request]) -> None:
        """Answer every request of a batch, whatever happens."""
        begin = time.perf_counter()
        try:
            found, stages = _detect(self._detectors[index], batch)
        except BaseException as error:  # whatever it is, it belongs to who waits for the result
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


class _Line:
    """Requests that wait, and the rule by which they leave as batches."""

    def __init__(self, max_batch: int, max_delay: float, max_waiting: int | None, threads: int) -> None:
        self._max_batch, self._max_delay, self._max_waiting = max_batch, max_delay, max_waiting
        self._threads = threads
        self._at_end: list[Callable[[], object]] = []
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, request: Request) -> None:
        with self._changed:
            if self._closed:
                raise ClosedError("the queue is closed: it takes no more images")
            if self._max_waiting is not None and len(self._waiting) >= self._max_waiting:
                raise QueueFullError(
                    f"{len(self._waiting)} images wait already, as many as max_waiting allows: send fewer, or later"
                )
            self._waiting.append(request)
            # Between the first one, whose delay some thread must time, and the last one nobody need wake.
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
        """Wait for a batch; None when there will be none any more. It is empty where all of it was cancelled."""
        with self._changed:
            while not self._is_due():
                if self._closed and not self._waiting:
                    return None
                self._changed.wait(self._time_left())
            taken = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            if self._waiting:
                self._changed.notify()  # another thread times the rest
        batch = [request for request in taken if request.set_running_or_notify_cancel()]
        for request in taken:
            if request.cancelled():
                _forget(request)
        return batch

    def leave(self) -> None:
        """Take a thread's leave; the last one does what is left to do."""
        with self._changed:
            self._threads -= 1
            actions = [] if self._threads else self._at_end
        for action in actions:
            action()

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        return self._closed or len(self._waiting) >= self._max_batch or self._time_left() == 0

    def _time_left(self) -> float | None:
        if not self._waiting:
            return None
        return max(0.0, self._waiting[0]._submitted + self._max_delay - time.perf_counter())


def _work(line: _Line, index: int) -> None:
    """Run batches until the line is closed and empty."""
    while (batch := line.next_batch()) is not None:
        if batch:
            queue = batch[0]._queue
            assert queue is not None
            queue._run(index, batch)
            del queue
        del batch  # waiting for the next one must not keep this one alive
    line.leave()


def _detect(detector: BatchDetector, batch: list[Request]) -> tuple[list[Detections], Stages]:
    images = [request._image for request in batch if request._image is not None]
    threshold = min(request._score_threshold for request in batch)
    found, stages = detector.profile(images, score_threshold=threshold)
    return [faces.above(request._score_threshold) for request, faces in zip(batch, found, strict=True)], stages


def _end(request: Request, end: Callable[[], object]) -> None:
    """Answer or cancel a request. What its callbacks raise ends neither its neighbours nor the thread."""
    _forget(request)
    try:
        end()
    except BaseException:  # a Future itself stops at Exception: SystemExit and the like come through
        _log.exception("a callback of a request failed")


def _forget(request: Request) -> None:
    """Let go of what a finished request no longer needs; its holder may keep it for long."""
    request._queue = request._image = None


_open_queues: weakref.WeakSet[BatchQueue] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Finish what was submitted before the interpreter goes: the threads are daemons, which it would stop anywhere."""
    for queue in list(_open_queues):
        queue.close()
