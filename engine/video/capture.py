"""Frames that OpenCV reads, through FFmpeg from files and addresses, and from cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from engine.errors import StreamError
from engine.types import Image
from engine.untrusted.limits import MAX_IMAGE_SIDE
from engine.video.frames import Frame

_TIMEOUT_MS = 10_000  # of opening an address, and of each frame; a camera's are the driver's
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
# Containers state their number of frames exactly, or as the product of two rounded numbers.
_LEAST_SHARE, _ROUNDING = 0.95, 2


@dataclass(frozen=True)
class Place:
    """What to open.

    Attributes:
        address: path, address, or number of a camera.
        name: for messages.
        live: whether frames come when they come, and a broken connection can be opened again.
    """

    address: str | int
    name: str
    live: bool


class Capture:
    """A video file, a camera or an address."""

    def __init__(self, place: Place, retries: int) -> None:
        """Open it; see open_source."""
        self._place, self._retries = place, retries
        self._first_capture: cv2.VideoCapture | None = self._open()

    def frames(self, pause: Callable[[float], bool]) -> Iterator[Frame]:
        """Yield frames until the video ends; see Source."""
        index, failures, started = 0, 0, None
        while True:
            capture, self._first_capture = self._first_capture, None
            try:
                capture = capture or self._open()
                for time_of_video, image in self._read(capture):
                    started = started or time.monotonic()
                    yield Frame(index, time.monotonic() - started if self._place.live else time_of_video, image)
                    index, failures = index + 1, 0
                return
            except StreamError as error:
                if not self._place.live or failures == self._retries:
                    tried = f"; it was opened again {failures} times in vain" if failures else ""
                    raise StreamError(f"{error}{_where(index)}{tried}") from error
            finally:
                if capture is not None:
                    capture.release()
            if pause(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S)):
                return
            failures += 1

    def _open(self) -> cv2.VideoCapture:
        address, name = self._place.address, self._place.name
        if isinstance(address, int):
            capture = cv2.VideoCapture(address)
        elif self._place.live:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
            capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        else:
            capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            kind = (
                "reached, or it is no video" if self._place.live else "read: it is no video, or its header is cut off"
            )
            raise StreamError(f"{name} cannot be {kind}")
        sides = [capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        if max(sides) > MAX_IMAGE_SIDE:
            capture.release()
            raise StreamError(
                f"{name} has frames of {sides[0]:.0f} x {sides[1]:.0f}, expected sides up to {MAX_IMAGE_SIDE}"
            )
        return capture

    def _read(self, capture: cv2.VideoCapture) -> Iterator[tuple[float, Image]]:
        count = 0
        while True:
            read, image = capture.read()
            if not read:
                break
            yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, np.asarray(image, np.uint8)
            count += 1
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # 0 or negative where there is no end
        if stated <= 0 or count < _LEAST_SHARE * stated - _ROUNDING:
            of = f", {count} of {stated:.0f} frames read" if stated > 0 else ""
            raise StreamError(f"{self._place.name} broke{of}")


def _where(index: int) -> str:
    return f" after frame {index - 1}" if index else " before the first frame"
