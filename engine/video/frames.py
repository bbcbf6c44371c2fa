"""One frame of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import AnyImage


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        index: its number in the stream, from 0; dropped frames are counted.
        time: seconds since the first frame: the video's own time for a file, that of arrival for a camera or an
            address; None for an iterator.
        image: its pixels; of a video uint8 [H, W, 3] in BGR order.
    """

    index: int
    time: float | None
    image: AnyImage
