"""Faces of a stream's frames, in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from engine.faces import Detections
from engine.types import AnyImage
from engine.video.frames import Frame
from engine.video.reader import FrameReader

Detect = Callable[[Sequence[AnyImage]], list[Detections]]


def faces_of_frames(reader: FrameReader, batch: int, detect: Detect) -> Generator[tuple[Frame, Detections], None, None]:
    """Yield each frame with its faces. The reader works while `detect` does, and ends with the iteration.

    Args:
        reader: not started yet.
        batch: frames that `detect` gets at once.
        detect: returns the faces of each image.

    Raises:
        StreamError: the stream broke, after the faces of all its frames.
    """
    try:
        reader.start()
        while frames := reader.take(batch):
            yield from zip(frames, detect([frame.image for frame in frames]), strict=True)
    finally:
        reader.close()
