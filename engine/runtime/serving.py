"""Serving many callers with one detector: its queue, its clones, and closing it."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from engine.errors import ClosedError
from engine.faces import Detections
from engine.runtime.forking import undisturbed
from engine.runtime.queue import BatchQueue
from engine.runtime.requests import Request
from engine.runtime.session import Session
from engine.runtime.timing import Stages
from engine.types import AnyImage, Color, Image

Self = TypeVar("Self", bound="ServedDetector")
_creating_queue = threading.Lock()


class ServedDetector(ABC):
    """The base of TRTRetinaFace that queues requests, clones the session and closes it."""

    max_batch: int
    score_threshold: float
    _path: Path
    _reopen: Callable[..., object]
    _session: Session
    _queue: BatchQueue | None = None
    _closed = False

    @abstractmethod
    def check_threshold(self, value: float | None) -> float:
        """Return the score threshold to use for a given value or None."""

    @abstractmethod
    def profile(
        self, images: Sequence[Image], *, score_threshold: float | None = None
    ) -> tuple[list[Detections], Stages]:
        """Detect and time each stage."""

    def submit(
        self,
        image: AnyImage,
        *,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> Request:
        """Queue an image and return a future of its faces; see detect for the arguments.

        Images that are submitted close together share a batch. For other batch sizes and delays, or several clones,
        make a BatchQueue, whose submit has the same arguments.

        Raises:
            InvalidArgumentError: the image is not one that detect takes, or another argument is out of range.
            QueueFullError: too many images wait in the queue.
            ClosedError: the detector is closed.
        """
        with undisturbed(), _creating_queue:
            self._check_open()
            # The queue holds a copy: it stays open until the queue has finished, and makes no reference cycle.
            queue = self._queue = self._queue or BatchQueue([copy.copy(self)])
        return queue.submit(image, score_threshold=score_threshold, min_size=min_size, max_faces=max_faces, color=color)

    def clone(self: Self) -> Self:
        """Return a detector that shares the weights and can run at the same time. Close each of them.

        Raises:
            DeviceError: the device has no memory left for it.
            ClosedError: the detector is closed.
        """
        self._check_open()
        other = copy.copy(self)
        with undisturbed():
            other._session, other._queue = self._session.clone(), None
        return other

    def close(self) -> None:
        """Finish the submitted requests and free the memory of the device. Closing twice is fine.

        A callback of a request may close the detector: the memory is then freed after the last request.
        """
        with undisturbed(), _creating_queue:
            queue, closed, self._closed, self._queue = self._queue, self._closed, True, None
        if queue is not None:
            queue.close(then=self._close_session)
        elif not closed:
            self._close_session()

    def __copy__(self: Self) -> Self:
        """Return a detector that shares everything."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        """Pickle what the detector was opened with: where it is unpickled, or copied deeply, the engine is opened anew.

        Raises:
            ClosedError: the detector is closed.
        """
        self._check_open()
        return partial(self._reopen, score_threshold=self.score_threshold), ()

    def __enter__(self: Self) -> Self:
        """Return the detector itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _close_session(self) -> None:
        with undisturbed():
            self._session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the detector of {self._path} is closed: open it again")
