"""Where frames come from: a video file, a camera, an address, or an iterator of images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeGuard
from urllib.parse import urlsplit

import numpy as np

from engine.errors import InvalidArgumentError, StreamError
from engine.types import AnyImage
from engine.untrusted.files import open_regular
from engine.video.capture import Capture, Place
from engine.video.frames import Frame

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Source(Protocol):
    """Gives frames once, in order."""

    def frames(self, pause: Callable[[float], bool]) -> Iterator[Frame]:
        """Yield the frames.

        Args:
            pause: waits for so many seconds; True if the reading is to end.

        Raises:
            StreamError: the stream broke; the message says after which frame.
        """


Convert = Callable[[Any, str], AnyImage]  # what a caller gave for an image, and its name for messages


class _Images:
    """Images of a caller's iterator. They are copied: callers reuse their memory, and frames are taken ahead."""

    def __init__(self, images: Iterable[object], convert: Convert) -> None:
        self._images, self._convert = images, convert

    def frames(self, pause: Callable[[float], bool]) -> Iterator[Frame]:
        for index, given in enumerate(self._images):
            image = self._convert(given, f"frame {index}")
            yield Frame(index, None, image.copy() if isinstance(image, np.ndarray) else image)


def open_source(source: object, convert: Convert, retries: int = 0) -> Source:
    """Open what frames are to be read from.

    Args:
        source: path of a video file, number of a camera, address (rtsp://, http://, ...), or an iterable of images.
        convert: makes an image of what an iterable gives, with a name for messages; InvalidArgumentError if it is none.
        retries: how often a camera or an address is opened again, in a row, after it broke.

    Raises:
        InvalidArgumentError: it is none of these, there is no such file, or `retries` is negative.
        StreamError: it cannot be opened.
    """
    check_retries(retries)
    if isinstance(source, int) and not isinstance(source, bool):
        if source < 0:
            raise InvalidArgumentError(f"source is camera {source}, expected 0 or more")
        return Capture(Place(source, f"camera {source}", live=True), retries)
    if isinstance(source, str | os.PathLike):
        return _named(str(source), retries)
    if _iterable(source):
        return _Images(source, convert)
    raise InvalidArgumentError(
        f"source is a {type(source).__name__}, expected the path of a video, the number of a camera, an address such "
        "as rtsp://..., or an iterable of images"
    )


def check_retries(retries: int) -> None:
    """Raise InvalidArgumentError unless it is a number of retries."""
    if retries < 0:
        raise InvalidArgumentError(f"retries is {retries}, expected 0 or more")


def _named(name: str, retries: int) -> Source:
    match = _SCHEME.match(name)
    if match is None:
        return Capture(Place(_video_file(Path(name)), name, live=False), retries)
    if match[1].lower() not in SCHEMES:
        raise InvalidArgumentError(f"source is {shown(name)}, expected an address of {', '.join(SCHEMES)}")
    return Capture(Place(name, shown(name), live=True), retries)


def shown(address: str) -> str:
    """Return an address without the user's name and password."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _iterable(source: object) -> TypeGuard[Iterable[object]]:
    return isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | memoryview | np.ndarray)


def _video_file(path: Path) -> str:
    try:
        with open_regular(path) as file:
            if not file.read(1):
                raise StreamError(f"the video {path} is empty")
    except OSError as error:
        raise InvalidArgumentError(f"the video {path} cannot be read: {error.strerror}") from error
    return os.path.abspath(path)  # a relative name may look like an option or an address
