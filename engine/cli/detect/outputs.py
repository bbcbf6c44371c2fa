"""The pictures that `detect` writes: marked ones, boxes cut out, aligned faces."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from os.path import realpath
from pathlib import Path

import cv2

from engine.cli.arguments import check_file_name, check_folder
from engine.cli.detect.inputs import Input, Picture, Stream, Unusable
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.types import Image
from engine.writing import write_file

_OPTIONS = ("annotate", "crops", "align")
_FRAME = re.compile(r"(.+)_\d{6,}", re.DOTALL)  # a frame's name, see frame_stem


class Outputs:
    """Folders for what is made of each picture or frame."""

    def __init__(self, arguments: argparse.Namespace, inputs: Sequence[Input]) -> None:
        """Make the folders.

        Raises:
            InvalidArgumentError: one cannot be written to or is named twice; two inputs would be written to one file,
                or one over a picture that is read.
        """
        given = {option: vars(arguments)[option] for option in _OPTIONS}
        self._folders: dict[str, Path] = {option: folder for option, folder in given.items() if folder is not None}
        for folder in self._folders.values():
            check_folder(folder)
        if len({realpath(folder) for folder in self._folders.values()}) < len(self._folders):
            raise InvalidArgumentError(
                f"{' and '.join(f'--{option}' for option in self._folders)} need different folders"
            )
        self._made = {realpath(folder) for folder in self._folders.values()}
        self._read = {realpath(given.name) for given in inputs if isinstance(given, Picture)}
        if self._folders:
            _check_names(inputs)
        if "annotate" in self._folders:
            for picture in inputs:
                if isinstance(picture, Picture):
                    self._check(self._path("annotate", picture.stem))
                    check_file_name(self._path("annotate", picture.stem))

    def write(self, stem: Path, image: Image, faces: Detections) -> None:
        """Write what was asked for of one picture or frame.

        Args:
            stem: path below the folders, without a suffix.
            image: uint8 [H, W, 3], BGR.
            faces: found in it.

        Raises:
            InvalidArgumentError: the faces have no landmarks to align, or a picture that is read would be overwritten.
            OutputError: a file could not be written.
        """
        if "annotate" in self._folders:
            self._write(self._path("annotate", stem), faces.plot(image))
        if "crops" in self._folders:
            self._write_each("crops", stem, faces.crops(image))
        if "align" in self._folders:
            self._write_each("align", stem, list(faces.align(image)))

    def _write_each(self, option: str, stem: Path, crops: Sequence[Image]) -> None:
        for index, crop in enumerate(crops):
            self._write(self._path(option, stem.with_name(f"{stem.name}_{index}")), crop)

    def _path(self, option: str, stem: Path) -> Path:
        return self._folders[option] / stem.with_name(f"{stem.name}.png")

    def _check(self, path: Path) -> None:
        if realpath(path) in self._read:
            raise InvalidArgumentError(f"{path} would overwrite a picture that is read; choose another folder")

    def _write(self, path: Path, image: Image) -> None:
        self._check(path)
        if realpath(path.parent) not in self._made:
            check_folder(path.parent)
            self._made.add(realpath(path.parent))
        write_file(path, cv2.imencode(".png", image)[1].tobytes())


def _check_names(inputs: Sequence[Input]) -> None:
    """Refuse two inputs that would be written to one file. A picture and a video may have one name."""
    names: dict[tuple[Path, bool], str] = {}
    for given in inputs:
        if isinstance(given, Unusable):
            continue
        other = names.setdefault((given.stem, isinstance(given, Stream)), given.name)
        if other != given.name:
            _refuse(given.name, other)
    for (stem, is_stream), name in names.items():
        if not is_stream and (frame := _FRAME.fullmatch(stem.name)):
            video = names.get((stem.with_name(frame[1]), True))
            if video is not None:
                _refuse(name, video)


def _refuse(name: str, other: str) -> None:
    raise InvalidArgumentError(
        f"{name} would overwrite what is made of {other}, because they have the same name: give them in "
        "two commands with different folders, or give the folder that both are below, with --recursive"
    )


def frame_stem(stem: Path, index: int) -> Path:
    """Return the path below an output folder of what is made of one frame, without a suffix."""
    return stem.with_name(f"{stem.name}_{index:06d}")
