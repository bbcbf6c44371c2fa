"""Files, cameras, addresses and iterators give their frames, or errors that say which frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InvalidArgumentError, StreamError
from engine.types import Image
from engine.video.capture import _FIRST_PAUSE_S
from engine.video.frames import Frame
from engine.video.source import open_source
from tests.engine.video.cameras import Camera, numbered

FRAMES, RATE = 60, 25.0


def as_it_is(image: Image, name: str) -> Image:
    return image


def frames(source: object, retries: int = 0, pauses: list[float] | None = None) -> Iterator[Frame]:
    """The frames, with pauses that take no time and are noted."""

    def pause(seconds: float) -> bool:
        if pauses is not None:
            pauses.append(seconds)
        return False

    return open_source(source, as_it_is, retries).frames(pause)


def until_it_breaks(frames: Iterator[Frame]) -> tuple[list[int], StreamError]:
    """The first value of each frame, and the error behind them."""
    found: list[int] = []
    try:
        for index, frame in enumerate(frames):
            assert frame.index == index
            found.append(int(np.asarray(frame.image)[0, 0, 0]))
    except StreamError as error:
        return found, error
    raise AssertionError("the stream did not break")


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> list[Camera]:
    """The connections that OpenCV makes, in order."""
    waiting: list[Camera] = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: waiting.pop(0))
    return waiting


def written(path: Path, count: int = FRAMES) -> list[Image]:
    """Write a video of smooth pictures that differ; return them."""
    rows, columns = np.mgrid[:48, :64].astype(np.float32)
    pictures = [
        np.stack([rows * 4, columns * 3, np.full_like(rows, 255 * i / count)], 2).astype(np.uint8) for i in range(count)
    ]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (64, 48))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return pictures


def test_a_video_gives_its_frames_with_their_times(tmp_path: Path) -> None:
    pictures = written(tmp_path / "video.avi")
    found = list(frames(tmp_path / "video.avi"))
    assert [frame.index for frame in found] == list(range(FRAMES))
    np.testing.assert_allclose([frame.time or 0 for frame in found], np.arange(FRAMES) / RATE, atol=1e-3)
    reds = []
    for frame, picture in zip(found, pictures, strict=True):
        assert np.abs(np.asarray(frame.image, np.float32) - picture).max() < 40  # JPEG's loss
        reds.append(float(np.asarray(frame.image)[..., 2].mean()))
    assert (np.diff(reds) > 1).all()  # in order
    np.testing.assert_allclose(reds, 255 * np.arange(FRAMES) / FRAMES, atol=4)  # JPEG's loss


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_video_that_is_cut_off_gives_what_it_has_and_says_where_it_ends(tmp_path: Path, share: float) -> None:
    written(tmp_path / "video.avi")
    content = (tmp_path / "video.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: int(len(content) * share)])
    found, error = until_it_breaks(frames(tmp_path / "cut.avi"))
    assert FRAMES * (share - 0.2) < len(found) < FRAMES
    assert f"cut.avi broke, {len(found)} of {FRAMES} frames read after frame {len(found) - 1}" in str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"no video at all" * 100, "cannot be read: it is no video")],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "video.mp4").write_bytes(content)
    with pytest.raises(StreamError, match=reason):
        open_source(tmp_path / "video.mp4", as_it_is)


def test_a_name_with_digits_is_one_file_and_no_sequence(tmp_path: Path) -> None:
    written(tmp_path / "frame_000.avi", 3)
    written(tmp_path / "frame_001.avi", 3)
    assert len(list(frames(tmp_path / "frame_000.avi"))) == 3
    with pytest.raises(InvalidArgumentError, match="No such file"):
        open_source(str(tmp_path / "frame_%03d.avi"), as_it_is)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nothing.mp4", "No such file"),
        (".", "Is a directory"),
        ("/dev/zero", "is a device"),
        (-1, "camera -1"),
        (1.5, "is a float, expected the path"),
        (True, "is a bool"),
        (None, "is a NoneType"),
        (b"bytes of a file", "is a bytes"),
        (np.zeros((4, 4, 3), np.uint8), "is a ndarray"),
        ("file:///etc/passwd", "expected an address of rtsp"),
        ("concat://a|b", "expected an address of rtsp"),
    ],
)
def test_other_sources_are_refused(source: object, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        open_source(source, as_it_is)
    with pytest.raises(InvalidArgumentError, match="retries is -1"):
        open_source(0, as_it_is, -1)


def test_a_camera_that_dies_is_opened_again_and_its_frames_are_counted_on(cameras: list[Camera]) -> None:
    connections = [Camera([0, 1]), Camera(None), Camera([2]), Camera(None), Camera(None), Camera(None)]
    cameras += connections
    pauses: list[float] = []
    found, error = until_it_breaks(frames(7, retries=2, pauses=pauses))
    assert found == [0, 1, 2]
    assert "camera 7 cannot be reached" in str(error)
    assert "after frame 2; it was opened again 2 times" in str(error)
    # The pause doubles until a frame comes, and starts anew after it.
    assert pauses == [_FIRST_PAUSE_S, 2 * _FIRST_PAUSE_S, _FIRST_PAUSE_S, 2 * _FIRST_PAUSE_S]
    assert all(camera.released for camera in connections[:3:2])


def test_without_retries_the_first_break_is_the_last(cameras: list[Camera]) -> None:
    cameras += [Camera([5])]
    source = frames("rtsp://someone:secret@host:554/stream")
    assert next(source).index == 0
    with pytest.raises(StreamError) as error:
        next(source)
    assert str(error.value) == "rtsp://host:554/stream broke after frame 0"


def test_an_address_that_cannot_be_reached_is_said_without_its_password(cameras: list[Camera]) -> None:
    cameras += [Camera(None)]
    with pytest.raises(StreamError) as error:
        open_source("http://someone:secret@host/video", as_it_is)
    assert "http://host/video cannot be reached" in str(error.value)
    assert "secret" not in str(error.value)


def test_giant_frames_are_refused_before_they_are_read(cameras: list[Camera]) -> None:
    cameras += [Camera([0], sides=(20000, 10))]
    with pytest.raises(StreamError, match="frames of 20000 x 10"):
        open_source(0, as_it_is)


def test_images_of_an_iterator_are_copied_and_named() -> None:
    reused = numbered(0)

    def images() -> Iterator[Image]:
        for index in range(3):
            reused[:] = index
            yield reused

    found = list(frames(images()))
    assert [int(np.asarray(frame.image)[0, 0, 0]) for frame in found] == [0, 1, 2]
    assert [frame.time for frame in found] == [None] * 3
    names = []
    list(open_source([1, 2], lambda image, name: names.append(name) or image).frames(lambda seconds: False))  # type: ignore[func-returns-value]
    assert names == ["frame 0", "frame 1"]
