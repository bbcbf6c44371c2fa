"""Reads frames in a thread of its own, ahead of those who work on them."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError
from engine.runtime.workers import Worker, finish
from engine.video.frames import Frame

if TYPE_CHECKING:
    from engine.video.source import Source

LATE = ("wait", "drop")


class FrameReader:
    """A thread that reads frames, and the frames that wait.

    Attributes:
        dropped: frames that were not worked on, because newer ones came.
    """

    def __init__(self, source: Source, ahead: int, late: str) -> None:
        """Prepare to read.

        Args:
            source: of the frames.
            ahead: frames that may wait.
            late: what happens when one more comes: "wait" reads no further; "drop" drops the oldest of them.

        Raises:
            InvalidArgumentError: an unknown way.
        """
        if late not in LATE:
            raise InvalidArgumentError(f"late is {late!r}, expected {' or '.join(LATE)}")
        self.dropped = 0
        self._source, self._ahead, self._drop = source, ahead, late == "drop"
        self._waiting: deque[Frame] = deque()
        self._changed = Condition()
        self._stopped = self._ended = False
        self._failure: BaseException | None = None
        self._worker = Worker(self._work, "frames")

    def start(self) -> None:
        """Start reading; InferenceError if there are too many threads."""
        self._worker.start()

    def take(self, count: int) -> list[Frame]:
        """Return the next frames: `count` of them, fewer at the end of the stream or where late ones are dropped.

        Returns:
            At least one frame, or none at the end.

        Raises:
            StreamError: the stream broke, behind the last frame that was taken.
            Exception: what a caller's iterator raised.
        """
        least = 1 if self._drop else count
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= least or self._ended)
            frames = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            self._changed.notify_all()
        if not frames and self._failure is not None:
            raise self._failure
        return frames

    def close(self) -> None:
        """Stop reading and wait until the thread has ended: at most as long as the source takes for one frame."""
        self._stop()
        finish([self._worker], self._stop)

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _pause(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped, seconds)

    def _work(self) -> None:
        frames = self._source.frames(self._pause)
        try:
            for frame in frames:
                if not self._put(frame):
                    break
        except BaseException as error:  # also of a caller's iterator: raised where its frames are taken
            self._failure = error
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> bool:
        """Add a frame to those that wait; False if the reading is to end."""
        with self._changed:
            if self._drop and len(self._waiting) == self._ahead:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: len(self._waiting) < self._ahead or self._stopped)
            self._waiting.append(frame)
            self._changed.notify_all()
            return not self._stopped
