"""Labels compared with their pictures: boxes outside, boxes without area, exchanged landmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engine.errors import InvalidArgumentError
from engine.images import read_eighth, read_image
from engine.train.labels.labelled import Faces, LabelledPicture
from engine.types import FloatArray

_POINTS = "left eye, right eye, nose, left and right corner of the mouth, where left is left in the picture"


class _Counts:
    """What was found, and the first picture where it was."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, Path]] = {}

    def add(self, what: str, count: int, path: Path) -> None:
        if count:
            before, first = self._found.get(what, (0, path))
            self._found[what] = (before + count, first)

    def __str__(self) -> str:
        return "; ".join(f"{count} {what} (such as in {path})" for what, (count, path) in self._found.items())


def check_faces(
    file: Path, labels: Sequence[tuple[Path, Faces]], say: Callable[[str], None], *, are_five: bool
) -> list[LabelledPicture]:
    """Return pictures with boxes that lie inside and have an area; see engine.train.labels.read_labels.

    Args:
        file: of the labels.
        labels: of each picture.
        say: is told of boxes that are changed or left out.
        are_five: whether landmarks are eyes, nose and corners of the mouth.
    """
    given = sum(len(faces.boxes) for _, faces in labels)
    if not given:
        raise InvalidArgumentError(f"labels {file} have no faces in {len(labels)} pictures: there is nothing to learn")
    if are_five:
        _refuse_exchanged(file, np.concatenate([faces.landmarks for _, faces in labels]))
    counts = _Counts()
    pictures = [_checked(path, faces, counts) for path, faces in labels]
    kept = sum(len(picture.boxes) for picture in pictures)
    if str(counts):
        say(f"labels {file}, of {given} boxes: {counts}")
    if kept * 2 < given:
        raise InvalidArgumentError(
            f"labels {file} have {given} boxes, of which only {kept} have an area inside of their pictures ({counts}): "
            "expected x1 y1 x2 y2, or what the format has instead, in pixels of these pictures"
        )
    return pictures


def _checked(path: Path, faces: Faces, counts: _Counts) -> LabelledPicture:
    try:
        height, width = _size(path, faces.boxes)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path} {error}") from error
    limits = np.array([width, height, width, height], np.float32)
    boxes = np.clip(faces.boxes, 0, limits)
    solid = (faces.boxes[:, :2] < faces.boxes[:, 2:]).all(1)
    inside = (boxes[:, :2] < boxes[:, 2:]).all(1)
    kept = solid & inside
    counts.add("have no area and are left out", int((~solid).sum()), path)
    counts.add("lie outside of their pictures and are left out", int((solid & ~inside).sum()), path)
    counts.add("reach out of their pictures and are clipped", int((kept & (boxes != faces.boxes).any(1)).sum()), path)
    values = None if faces.values is None else faces.values[kept]
    return LabelledPicture(path, boxes[kept], faces.landmarks[kept], faces.ignored[kept], faces.classes[kept], values)


def _size(path: Path, boxes: FloatArray) -> tuple[int, int]:
    """Return height and width of a picture, or less if all boxes lie inside of that."""
    # An eighth is read several times faster, and its sides are rounded up or down.
    height, width = ((side - 1) * 8 for side in read_eighth(path).shape[:2])
    if (boxes >= 0).all() and (boxes <= [width, height, width, height]).all():
        return height, width
    height, width = read_image(path).shape[:2]
    return height, width


def _refuse_exchanged(file: Path, landmarks: FloatArray) -> None:
    known = landmarks[~np.isnan(landmarks).any((1, 2))]
    exchanged = int((known[:, 0, 0] > known[:, 1, 0]).sum())
    if exchanged * 2 > len(known):
        raise InvalidArgumentError(
            f"labels {file}: in {exchanged} of {len(known)} faces the first eye is to the right of the second, "
            f"expected the points {_POINTS}"
        )
