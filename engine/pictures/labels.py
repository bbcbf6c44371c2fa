"""Labels: faces in JSON lines, as `retinaface-trt detect` prints them, one object per image."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from engine.errors import InvalidArgumentError
from engine.types import FloatArray
from engine.untrusted.json_text import check_number_of_values, count_values, parse_json
from engine.untrusted.lines import read_lines

_Faces = TypeVar("_Faces")

_LARGEST = 1e9


def read_labels(path: Path) -> dict[str, FloatArray]:
    """Return the boxes of each image, float32 [N, 4], by the image's name.

    A line is {"image": NAME, "faces": [{"box": [x1, y1, x2, y2]}, ...]}. Other keys and blank lines are ignored.

    Raises:
        InvalidArgumentError: the file cannot be read, a line is malformed, or an image has two lines.
    """
    return read_entries(path, _boxes)


def read_entries(path: Path, read: Callable[[Sequence[Any]], _Faces]) -> dict[str, _Faces]:
    """Return what each line says of an image's faces, by the image's name.

    Args:
        path: of the file.
        read: takes the values of "faces"; raises ValueError, TypeError or KeyError if they are malformed.

    Raises:
        InvalidArgumentError: see read_labels.
    """
    labels: dict[str, _Faces] = {}
    try:
        for number, values in _lines(path):
            try:
                name, faces = _parse(parse_json(values), read)
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidArgumentError(
                    f'labels {path}, line {number}: expected {{"image": NAME, "faces": [{{"box": [x1, y1, x2, y2]}}, '
                    f"...]}} with x1 < x2 and y1 < y2 ({type(error).__name__}: {error})"
                ) from error
            if name in labels:
                raise InvalidArgumentError(f"labels {path}, line {number}: {name} occurs twice")
            labels[name] = faces
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"labels {path} cannot be read: {error}") from error
    if not labels:
        raise InvalidArgumentError(f"labels {path} has no lines")
    return labels


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank, with its number."""
    values = 0
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        values += count_values(line)
        try:
            check_number_of_values(values)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                f"labels {path} {error}, up to line {number}: split it into several files"
            ) from error
        yield number, line


def _parse(entry: Any, read: Callable[[Sequence[Any]], _Faces]) -> tuple[str, _Faces]:
    name, faces = entry["image"], entry["faces"]
    if not isinstance(name, str) or not isinstance(faces, list):
        raise ValueError("image is no string, or faces is no list")
    return name, read(faces)


def _boxes(faces: Sequence[Any]) -> FloatArray:
    boxes = np.array([numbers(face["box"], 4, "a box") for face in faces], np.float32).reshape(-1, 4)
    if not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError("a box is empty")
    return boxes


def numbers(values: Any, count: int, what: str) -> list[float]:
    """Return a list of so many coordinates; ValueError if it is none: they are finite, and at most 1e9 in size."""
    if not isinstance(values, list) or len(values) != count or not all(map(_is_coordinate, values)):
        raise ValueError(f"{what} is not {count} numbers")
    return values


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def label_line(name: str, boxes: Sequence[Sequence[float]] | FloatArray) -> str:
    """Return the line of one image, without the line break."""
    return json.dumps({"image": name, "faces": [{"box": [round(float(v), 4) for v in box]} for box in boxes]})


def boxes_of(labels: Mapping[str, FloatArray], names: Sequence[str]) -> list[FloatArray | None]:
    """Return the boxes of each image; None for an image without a label.

    Raises:
        InvalidArgumentError: see label_names.
    """
    return [None if label is None else labels[label] for label in label_names(labels, names)]


def label_names(labels: Collection[str], names: Sequence[str]) -> list[str | None]:
    """Return the name of each image's label; None for an image without one.

    A label belongs to the image of its name. If there is no such image, it belongs to the image with the same file
    name: labels may have been made in another folder.

    Raises:
        InvalidArgumentError: several labels or several images have a file name that would have to be unique.
    """
    known = set(names)
    labels_by_file = _by_file(name for name in labels if name not in known)
    images_by_file = _by_file(name for name in names if name not in labels)
    found: list[str | None] = []
    for name in names:
        file = PurePosixPath(name).name
        alike = [name] if name in labels else labels_by_file.get(file, [])
        if len(alike) > 1:
            raise InvalidArgumentError(f"labels: {' and '.join(alike[:2])} could both be {name}")
        if alike and name not in labels and len(images_by_file[file]) > 1:
            raise InvalidArgumentError(f"labels: {alike[0]} could be {' and '.join(images_by_file[file][:2])}")
        found.append(alike[0] if alike else None)
    return found


def require_labels(names: Sequence[str], boxes: Sequence[FloatArray | None]) -> list[FloatArray]:
    """Return the boxes of all images; raise InvalidArgumentError if an image has no label."""
    missing = [name for name, faces in zip(names, boxes, strict=True) if faces is None]
    if missing:
        raise InvalidArgumentError(
            f"labels lack {len(missing)} of {len(names)} pictures, the first is {missing[0]}. A picture without faces "
            'needs a line with "faces": []'
        )
    return [faces for faces in boxes if faces is not None]


def _by_file(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(PurePosixPath(name).name, []).append(name)
    return groups
