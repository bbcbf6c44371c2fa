"""What lets a detector serve many callers, and end: its queue, its clones, close() and with."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from engine.errors import ClosedError
from engine.runtime.queue import BatchQueue, Request
from engine.runtime.session import Session
from engine.runtime.timing import Stages
from engine.types import Detections, Image

Self = TypeVar("Self", bound="ServedDetector")
_creating_queue = threading.Lock()


class ServedDetector(ABC):
    """The part of TRTRetinaFace that knows a session only as something to share and to close."""

    max_batch: int
    _path: Path
    _session: Session
    _queue: BatchQueue | None = None
    _closed = False

    @abstractmethod
    def check_threshold(self, value: float | None) -> float:
        """Return the score threshold that a value means."""

    @abstractmethod
    def profile(
        self, images: Sequence[Image], *, score_threshold: float | None = None
    ) -> tuple[list[Detections], Stages]:
        """Detect, and say how long each stage took."""

    def submit(self, image: Image, *, score_threshold: float | None = None) -> Request:
        """Queue an image, and return a future of its faces. It shares a batch with others that come soon after it.

        A BatchQueue of this detector and its clones does the same with settings of its own.

        Raises:
            InvalidArgumentError: not such an image as detect takes, or a threshold out of range.
            QueueFullError: too many images wait already.
            ClosedError: the detector is closed.
        """
        with _creating_queue:
            self._check_open()
            # A copy, which stays open until the queue has finished, and forms no cycle with it.
            queue = self._queue = self._queue or BatchQueue([copy.copy(self)])
        return queue.submit(image, score_threshold=score_threshold)

    def clone(self: Self) -> Self:
        """Return a detector that shares the weights, and can run while this one runs; each is closed by itself.

        Raises:
            DeviceError: the device has no room for it.
            ClosedError: the detector is closed.
        """
        self._check_open()
        other = copy.copy(self)
        other._session, other._queue = self._session.clone(), None
        return other

    def close(self) -> None:
        """Finish what was submitted and give the device's memory back. Closing twice is fine.

        A callback of a request may close too: then the last of the requests gives the memory back.
        """
        with _creating_queue:
            queue, closed, self._closed, self._queue = self._queue, self._closed, True, None
        if queue is not None:
            queue.close(then=self._session.close)
        elif not closed:
            self._session.close()

    def __enter__(self: Self) -> Self:
        """Return the detector itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the detector of {self._path} is closed: open it again")
