"""detect_stream of a real engine finds in a stream what detect finds in its frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import Detections, Frame, InvalidArgumentError, StreamError, TRTRetinaFace
from engine.types import Image
from tests.engine.video.cameras import Camera
from tests.support.data import astronaut

FRAMES = 300


@pytest.fixture(scope="module")
def detector(fp32_engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(fp32_engine, "cpu", threads=1)


def picture(index: int) -> Image:
    """A face that moves to the right and back, and is away in every fifth frame."""
    canvas = np.full((128, 224, 3), 90, np.uint8)
    if index % 5:
        face = cv2.resize(astronaut()[20:220, 120:320], (110, 110), interpolation=cv2.INTER_AREA)
        left = abs(index % 200 - 100)
        canvas[8:118, left : left + 110] = face
    return canvas


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (224, 128))
    for index in range(FRAMES):
        writer.write(picture(index))
    writer.release()
    return path


@pytest.fixture(scope="module")
def frame_by_frame(detector: TRTRetinaFace, video: Path) -> list[Detections]:
    """Read and detected without this package's streams."""
    capture, found = cv2.VideoCapture(str(video)), []
    while (read := capture.read())[0]:
        found.append(detector.detect(np.asarray(read[1], np.uint8)))
    assert len(found) == FRAMES
    assert [len(faces) for faces in found] == [int(index % 5 > 0) for index in range(FRAMES)]
    return found


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "frames"]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_video_is_the_same_as_frame_by_frame(
    detector: TRTRetinaFace, video: Path, frame_by_frame: list[Detections], batch: int
) -> None:
    found = list(detector.detect_stream(video, batch=batch))
    assert [frame.index for frame, _ in found] == list(range(FRAMES))
    for (frame, faces), expected in zip(found, frame_by_frame, strict=True):
        assert faces == expected
        assert np.asarray(frame.image).shape == (128, 224, 3)
    assert not threads()


def test_images_of_an_iterator_and_their_colours(detector: TRTRetinaFace) -> None:
    pictures = [picture(index) for index in range(6)]
    expected = detector.detect(pictures)
    swapped = (np.ascontiguousarray(image[..., ::-1]) for image in pictures)
    found = list(detector.detect_stream(swapped, batch=4, color="rgb"))
    assert [faces for _, faces in found] == expected
    assert found[1][0].time is None
    np.testing.assert_array_equal(np.asarray(found[1][0].image)[..., ::-1], pictures[1])


def test_what_is_selected(detector: TRTRetinaFace) -> None:
    pictures = [np.vstack([picture(1), picture(61)])] * 2
    (_, both), _ = detector.detect_stream(pictures)
    assert len(both) == 2
    (_, one), _ = detector.detect_stream(pictures, max_faces=1)
    assert one == both[:1]
    (_, large), _ = detector.detect_stream(pictures, min_size=1000)
    assert len(large) == 0
    (_, sure), _ = detector.detect_stream(pictures, score_threshold=1.0)
    assert len(sure) == 0


def test_a_bad_frame_is_named_after_the_faces_before_it(detector: TRTRetinaFace) -> None:
    def images() -> Iterator[Any]:
        yield picture(1)
        yield picture(2)
        yield picture(3).astype(np.float32)

    frames = detector.detect_stream(images(), batch=2)
    assert [len(faces) for _, faces in islice(frames, 2)] == [1, 1]
    with pytest.raises(InvalidArgumentError, match="frame 2 has dtype float32, expected uint8"):
        next(frames)
    assert not threads()


@pytest.mark.parametrize("late", ["wait", "drop"])
def test_a_camera_that_stalls_and_dies(detector: TRTRetinaFace, monkeypatch: pytest.MonkeyPatch, late: Any) -> None:
    cameras = [Camera([1, 2, 3], waits=0.05), Camera([4], waits=0.3), Camera(None)]
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: cameras.pop(0))
    monkeypatch.setattr("engine.video.capture._FIRST_PAUSE_S", 0.01)
    found: list[tuple[Frame, Detections]] = []
    message = r"camera 0 cannot be reached.* after frame 3; it was opened again 1 times"
    with pytest.raises(StreamError, match=message):
        found += detector.detect_stream(0, batch=2, late=late, retries=1)
    indices = [frame.index for frame, _ in found]
    assert indices == sorted(set(indices))
    assert indices[-1] == 3
    assert late == "drop" or indices == [0, 1, 2, 3]
    times = [frame.time or 0.0 for frame, _ in found]
    assert times == sorted(times)
    assert not threads()


def test_leaving_early_ends_the_thread(detector: TRTRetinaFace) -> None:
    for frame, _ in detector.detect_stream((picture(index) for index in count()), batch=2):
        if frame.index == 3:
            break
    assert not threads()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "nothing.mp4"}, "nothing.mp4 cannot be read"),
        ({"batch": 0}, "batch is 0, expected 1 to 4"),
        ({"batch": 5}, "batch is 5, expected 1 to 4"),
        ({"batch": True}, "batch is True, expected 1 to 4"),
        ({"late": "skip"}, "late is 'skip', expected wait or drop"),
        ({"retries": -1}, "retries is -1"),
        ({"score_threshold": 2.0}, "score_threshold is 2.0"),
        ({"max_faces": 0}, "max_faces is 0"),
        ({"min_size": -1}, "min_size is -1"),
        ({"color": "gray"}, "color is 'gray'"),
    ],
)
def test_arguments_are_checked_at_the_call(detector: TRTRetinaFace, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        detector.detect_stream(**{"source": [], **arguments})
