"""Requests for the faces of an image, and the queue that gives them out as batches."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from engine.errors import ClosedError, InferenceError, QueueFullError
from engine.faces import Detections, Selection
from engine.runtime.timing import Stages
from engine.types import Image

_log = logging.getLogger("engine")


class Owner(Protocol):
    """What requests keep alive until they are done: BatchQueue."""

    _requests: RequestQueue

    def _run(self, index: int, batch: list[Request]) -> None: ...


class Request(Future[Detections]):
    """A future of the faces of one image.

    Attributes:
        stages: seconds of each stage, once done. "queueing" is the time from submit() to the start of the batch, plus
            the wait for the detector; the other stages are those of the whole batch.
        batch_size: number of images in that batch, once done.
    """

    def __init__(self, queue: Owner, image: Image, score_threshold: float, selection: Selection) -> None:
        """Start the clock."""
        super().__init__()
        self.stages: Stages = {}
        self.batch_size = 0
        # Keeps the queue alive until the request is done.
        self._queue: Owner | None = queue
        self._image: Image | None = image
        self._score_threshold, self._selection = score_threshold, selection
        self._submitted = time.perf_counter()

    def cancel(self) -> bool:
        """Cancel the request if its batch has not started; return whether it is cancelled."""
        cancelled = super().cancel()
        if cancelled:
            self._image = None  # the request itself waits for its turn
        return cancelled

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
            end(request, request.cancel)
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
                forget(request)
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


def end(request: Request, end: Callable[[], object]) -> None:
    """Answer or cancel a request. Exceptions of its callbacks are logged and do not affect other requests."""
    forget(request)
    try:
        end()
    except BaseException:  # a Future catches Exception, but not SystemExit and the like
        _log.exception("a callback of a request failed")


def forget(request: Request) -> None:
    """Drop the references of a finished request, which the caller may keep for long."""
    if request._queue is not None:
        request._queue._requests.forget(request)
    request._queue = request._image = None
