"""Serving many callers with one detector: its queue, its clones, and closing it."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from engine.errors import ClosedError
from engine.runtime.forking import undisturbed
from engine.runtime.queue import BatchQueue, Request
from engine.runtime.session import Session
from engine.runtime.timing import Stages
from engine.types import Detections, Image

Self = TypeVar("Self", bound="ServedDetector")
_creating_queue = threading.Lock()


class ServedDetector(ABC):
    """The base of TRTRetinaFace that queues requests, clones the session and closes it."""

    max_batch: int
    _path: Path
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

    def submit(self, image: Image, *, score_threshold: float | None = None) -> Request:
        """Queue an image and return a future of its faces. Images that are submitted close together share a batch.

        For other batch sizes and delays, or several clones, make a BatchQueue.

        Raises:
            InvalidArgumentError: the image is not one that detect takes, or the threshold is out of range.
            QueueFullError: too many images wait in the queue.
            ClosedError: the detector is closed.
        """
        with undisturbed(), _creating_queue:
            self._check_open()
            # The queue holds a copy: it stays open until the queue has finished, and makes no reference cycle.
            queue = self._queue = self._queue or BatchQueue([copy.copy(self)])
        return queue.submit(image, score_threshold=score_threshold)

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

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled, or copied deeply."""
        raise TypeError(
            f"the detector of {self._path} cannot be pickled: it holds threads and memory of this process. Pass the "
            "path of the engine to the other process, and open it there"
        )

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
