"""Reads photos from folders, for the composer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import InvalidArgumentError
from engine.images import list_images, read_image
from engine.pictures.faces import LabelledImage
from engine.pictures.labels import boxes_of
from engine.types import FloatArray, Image


class Pictures(Sequence[Image]):
    """The picture files of a folder, each read when it is accessed."""

    def __init__(self, folder: Path) -> None:
        """List the pictures; raise InvalidArgumentError if there are none."""
        self._paths = list_images(folder)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        """Read one picture; raise InvalidArgumentError, with the path, if the file is no picture."""
        try:
            return read_image(self._paths[index])
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{self._paths[index]} {error}") from error


def labelled_photos(
    folder: Path, labels: Mapping[str, FloatArray], say: Callable[[str], None]
) -> Iterator[LabelledImage]:
    """Yield the labelled photos of a folder, one at a time; tell `say` of each that cannot be read."""
    paths = list_images(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    for path, boxes in zip(paths, boxes_of(labels, names), strict=True):
        if boxes is None:
            continue
        try:
            yield LabelledImage(read_image(path), boxes)
        except InvalidArgumentError as error:
            say(f"skipped {path}: {error}")
