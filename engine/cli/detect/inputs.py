"""What the arguments of `detect` mean: pictures, and streams of frames."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgumentError
from engine.images import SUFFIXES, list_files
from engine.untrusted.limits import MAX_TEXT_BYTES

LIST = "-"
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
_CAMERA = re.compile(r"camera:(\d{1,9})")
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")  # for names of files


@dataclass(frozen=True)
class Picture:
    """One picture file.

    Attributes:
        name: as it was given, or with its folder.
        stem: path below an output folder of what is made of it, without a suffix.
    """

    name: str
    stem: Path


@dataclass(frozen=True)
class Stream:
    """A video file, a camera or an address.

    Attributes:
        name: without a user's name and password.
        source: of detect_stream.
        stem: as that of a picture.
        live: whether frames come when they come.
    """

    name: str
    source: str | int
    stem: Path
    live: bool


@dataclass(frozen=True)
class Unusable:
    """What cannot be read.

    Attributes:
        reason: names it.
    """

    reason: str


Input = Picture | Stream | Unusable


def inputs_of(arguments: Sequence[str], recursive: bool) -> list[Input]:
    """Return everything that the arguments name, in their order; that of a folder or a pattern is the alphabet's.

    Args:
        arguments: files, folders of files, patterns, addresses, "camera:N", or "-" for a list of these on standard
            input.
        recursive: whether folders include their subfolders.

    Raises:
        InvalidArgumentError: the list on standard input is too long.
    """
    return [found for argument in arguments for found in _of_argument(argument, recursive)]


def _of_argument(argument: str, recursive: bool) -> Iterator[Input]:
    if argument != LIST:
        yield from _of_name(argument, recursive)
        return
    names = _listed()
    if not names:
        yield Unusable("the list on standard input is empty")
    for name in names:
        yield from _of_name(name, recursive)


def _listed() -> list[str]:
    """Return the lines of standard input that are not blank."""
    content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidArgumentError(f"the list on standard input has more than {MAX_TEXT_BYTES:,} bytes")
    return [os.fsdecode(line.removesuffix(b"\r")) for line in content.split(b"\n") if line.strip()]


def _of_name(name: str, recursive: bool) -> Iterator[Input]:
    if "\0" in name:
        yield Unusable(f"{name}: no file's name has a character of the value 0")
    elif "://" in name:
        from engine.video.source import shown

        yield Stream(shown(name), name, _fit(shown(name)), live=True)
    elif camera := _CAMERA.fullmatch(name):
        yield Stream(name, int(camera[1]), _fit(name), live=True)
    elif glob.has_magic(name) and not os.path.lexists(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            yield Unusable(f"{name}: no file has a name of this pattern")
        for match in matches:
            yield from _of_path(match, recursive)
    else:
        yield from _of_path(name, recursive)


def _of_path(name: str, recursive: bool) -> Iterator[Input]:
    path = Path(name)
    if os.path.isdir(name):
        try:
            files = list_files(path, (*SUFFIXES, *VIDEO_SUFFIXES), "pictures or videos", recursive=recursive)
        except InvalidArgumentError as error:
            yield Unusable(f"{error}{'' if recursive else '; --recursive looks in its subfolders, too'}")
            return
        except OSError as error:
            yield Unusable(f"{name}: {error.strerror}")
            return
        for file in files:
            yield _of_file(str(file), file.relative_to(path).with_suffix(""))
    else:
        yield _of_file(name, Path(path.stem))


def _of_file(name: str, stem: Path) -> Input:
    if Path(name).suffix.lower() in VIDEO_SUFFIXES:
        return Stream(name, name, stem, live=False)
    return Picture(name, stem)


def _fit(name: str) -> Path:
    return Path(_UNFIT.sub("_", name))
