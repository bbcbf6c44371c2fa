"""Frames are read ahead, in order, and the thread that reads them ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice

import numpy as np
import pytest

from engine.errors import InvalidArgumentError, StreamError
from engine.faces import Detections
from engine.types import AnyImage
from engine.video import Frame, FrameReader
from engine.video.detect import faces_of_frames
from tests.engine.video.cameras import numbered


class Frames:
    """A source of frames that a test makes."""

    def __init__(self, make: Callable[[Callable[[float], bool]], Iterator[Frame]]) -> None:
        """Say how."""
        self.frames = make


def some(number: int | None, wait: float = 0.0, failure: Exception | None = None) -> Frames:
    """So many frames, or no end of them; then the failure."""

    def make(pause: Callable[[float], bool]) -> Iterator[Frame]:
        for index in count() if number is None else range(number):
            if wait:
                pause(wait)
            yield Frame(index, None, numbered(index % 256))
        if failure is not None:
            raise failure

    return Frames(make)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "frames"]


def detect(images: Sequence[AnyImage]) -> list[Detections]:
    """A face for each image, whose score is the frame's number."""
    return [
        Detections(np.zeros((1, 4), np.float32), np.asarray(image)[0, 0, :1].astype(np.float32), None)
        for image in images
    ]


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_frames_come_in_order_and_whole_batches(ahead: int, batch: int) -> None:
    if ahead < batch:
        ahead = batch
    reader = FrameReader(some(20), ahead, "wait")
    reader.start()
    taken: list[Frame] = []
    while frames := reader.take(batch):
        assert len(frames) == min(batch, 20 - len(taken))
        taken += frames
    reader.close()
    assert [frame.index for frame in taken] == list(range(20))
    assert not threads()


def test_late_frames_are_dropped_the_oldest_first() -> None:
    reader = FrameReader(some(100), 2, "drop")
    reader.start()
    reader._worker.wait()
    assert [frame.index for frame in reader.take(8)] == [98, 99]
    assert reader.dropped == 98
    assert reader.take(8) == []
    reader.close()


def test_where_late_frames_are_dropped_nobody_waits_for_a_full_batch() -> None:
    reader = FrameReader(some(3, wait=0.2), 8, "drop")
    reader.start()
    assert [frame.index for frame in reader.take(8)] == [0]
    reader.close()


def test_reading_goes_on_while_frames_are_worked_on() -> None:
    read = [threading.Event() for _ in range(10)]

    def make(pause: object) -> Iterator[Frame]:
        for index in range(10):
            read[index].set()
            yield Frame(index, None, numbered(index))

    def work(images: Sequence[AnyImage]) -> list[Detections]:
        faces = detect(images)
        following = int(faces[0].scores[0]) + 1
        assert following == 10 or read[following].wait(10)  # it is read before this call ends, or never
        return faces

    assert len(list(faces_of_frames(FrameReader(Frames(make), 4, "wait"), 1, work))) == 10


def test_a_break_is_raised_behind_the_faces_of_all_frames() -> None:
    reader = FrameReader(some(5, failure=StreamError("it broke after frame 4")), 4, "wait")
    faces_found = faces_of_frames(reader, 2, detect)
    found = [(frame.index, float(faces.scores[0])) for frame, faces in islice(faces_found, 5)]
    with pytest.raises(StreamError, match="frame 4"):
        next(faces_found)
    assert found == [(i, float(i)) for i in range(5)]
    assert not threads()


def test_what_a_callers_iterator_raises_comes_out() -> None:
    reader = FrameReader(some(1, failure=KeyError("mine")), 2, "wait")
    with pytest.raises(KeyError, match="mine"):
        list(faces_of_frames(reader, 1, detect))


def test_a_detection_that_fails_ends_the_reading() -> None:
    def fail(images: object) -> list[Detections]:
        raise InvalidArgumentError("no")

    with pytest.raises(InvalidArgumentError):
        list(faces_of_frames(FrameReader(some(None), 2, "wait"), 1, fail))
    assert not threads()


@pytest.mark.parametrize("late", ["wait", "drop"])
def test_leaving_early_ends_the_thread(late: str) -> None:
    frames = faces_of_frames(FrameReader(some(None, wait=0.001), 2, late), 1, detect)
    next(frames)
    assert threads()
    frames.close()
    assert not threads()


def test_leaving_during_a_pause_ends_it() -> None:
    reader = FrameReader(some(None, wait=60), 2, "wait")
    reader.start()
    began = time.perf_counter()
    reader.close()
    assert time.perf_counter() - began < 10


def test_what_was_never_iterated_starts_no_thread() -> None:
    frames = faces_of_frames(FrameReader(some(None), 2, "wait"), 1, detect)
    del frames
    assert not threads()


def test_other_ways_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="late is 'skip', expected wait or drop"):
        FrameReader(some(1), 2, "skip")
