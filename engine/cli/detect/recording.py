"""The video that `detect` writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from engine.errors import OutputError, StreamError
from engine.types import Image
from engine.writing import written_elsewhere
from engine.writing.signals import signals_deferred

# What the FFmpeg of OpenCV's wheels can write, with the codec that such files may hold.
CODECS = {".avi": "MJPG", ".m4v": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".mp4": "mp4v"}
_MEASURED = 10  # frames whose times give the rate
_USUAL_RATE, _RATES = 25.0, (1.0, 240.0)
_DIGITS = 2  # of the rate: 29.97

Record = Callable[[float, Image], bool]


@contextmanager
def recording_to(path: Path | None, *, live: bool) -> Iterator[Record]:
    """Give a function that adds a frame, of a time in seconds, to a video; it returns whether to go on.

    SIGINT and SIGTERM end a live stream's recording, which is kept, as it is where the stream breaks. Those of a video
    file are not.

    Args:
        path: of the video; None is none.
        live: whether the stream has no end.

    Raises:
        OutputError: the video cannot be written.
    """
    if path is None:
        yield lambda time, image: True
        return
    broke: StreamError | None = None
    with signals_deferred() as interrupts, written_elsewhere(path) as part:
        recording = _Recording(part, path)

        def record(time: float, image: Image) -> bool:
            recording.add(time, image)
            if interrupts and not live:
                raise KeyboardInterrupt  # the signal itself follows when nothing is left behind
            return not interrupts

        try:
            yield record
        except StreamError as error:
            if not live or recording.count == 0:
                raise
            broke = error
        recording.finish()
    if broke is not None:
        raise broke


class _Recording:
    """A video that is being written.

    Attributes:
        count: of frames.
    """

    def __init__(self, part: Path, path: Path) -> None:
        """Say where to write, and the name for messages."""
        self._part, self._path = os.path.abspath(part), path
        self._first: list[tuple[float, Image]] = []
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        self.count = 0

    def add(self, time: float, image: Image) -> None:
        """Add a frame. The first ones are kept until their times give the rate."""
        size = image.shape[1], image.shape[0]
        self._size = self._size or size
        if size != self._size:
            raise self._error(f"frame {self.count} has {size[0]} x {size[1]} pixels, those before {self._size}")
        self.count += 1
        if self._writer is not None:
            self._writer.write(image)
            return
        self._first.append((time, image))
        if len(self._first) == _MEASURED:
            self._begin()

    def finish(self) -> None:
        """Finish the file, and look whether all frames are in it: the library does not say what it could not write."""
        if self._size is None:
            raise self._error("there are no frames")
        writer = self._writer or self._begin()
        writer.release()
        written = cv2.VideoCapture(self._part, cv2.CAP_FFMPEG)
        count = written.get(cv2.CAP_PROP_FRAME_COUNT) if written.isOpened() else 0
        written.release()
        if count < self.count - 1:  # a count may be a product of rounded numbers
            raise self._error(f"{count:.0f} of {self.count} frames were written: is the disk full?")

    def _begin(self) -> cv2.VideoWriter:
        assert self._size is not None
        duration = self._first[-1][0] - self._first[0][0]
        rate = (len(self._first) - 1) / duration if duration > 0 else _USUAL_RATE
        rate = round(min(max(rate, _RATES[0]), _RATES[1]), _DIGITS)
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        writer = cv2.VideoWriter(self._part, cv2.CAP_FFMPEG, codec, rate, self._size)
        if not writer.isOpened():
            raise self._error(f"OpenCV cannot write such a video of {self._size[0]} x {self._size[1]} pixels")
        for _, image in self._first:
            writer.write(image)
        self._writer, self._first = writer, []
        return writer

    def _error(self, reason: str) -> OutputError:
        return OutputError(f"cannot write {self._path}: {reason}", str(self._path), reason)
