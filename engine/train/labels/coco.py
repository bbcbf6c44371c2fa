"""COCO's JSON: boxes of annotations, with keypoints where a category has as many as the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import InvalidArgumentError
from engine.pictures.classes import ClassNumbers
from engine.pictures.labels import numbers
from engine.train.labels.classes import classes_taken
from engine.train.labels.labelled import FaceList, Faces
from engine.untrusted.files import read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_TEXT_BYTES

_KEYPOINT_VALUES = 3  # x, y and visibility; 0 is not labelled
_EXPECTED = (
    'expected COCO\'s {"images": [{"id", "file_name"}], "annotations": [{"image_id", "category_id", "bbox"}], '
    '"categories": [{"id", "name"}]}'
)


def read_coco(file: Path, numbers_of: ClassNumbers, say: Callable[[str], None], points: int) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name; pictures without annotations have none.

    Boxes are left, top, width, height. Annotations with "iscrowd" are ignored faces. Keypoints are taken if there are
    as many as the model has landmarks; other numbers are passed over, such as the 17 of COCO's people.

    Args:
        file: with the labels.
        numbers_of: the model's classes, which categories name.
        say: is told which categories are taken if there is one class; see classes_taken.
        points: how many landmarks a face has.

    Raises:
        InvalidArgumentError: it is not COCO's, an annotation is of an unknown picture or category, its category is none
            of the model's classes, or a picture occurs twice.
        OSError: the file cannot be read.
    """
    content = read_file(file, MAX_TEXT_BYTES)
    try:
        return _read(file, parse_json(content), numbers_of, say, points)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"labels {file}: {_EXPECTED} ({type(error).__name__}: {error})") from error


def _read(
    file: Path, values: Any, numbers_of: ClassNumbers, say: Callable[[str], None], points: int
) -> dict[str, Faces]:
    pictures = _by_id(values["images"], "file_name")
    lists = {name: FaceList(points) for name in pictures.values()}
    if len(lists) < len(pictures):
        raise ValueError("two images have one file_name")
    classes = _by_id(values["categories"], "name")
    annotations = values["annotations"]
    for number, annotation in enumerate(annotations):
        for key, known in (("image_id", pictures), ("category_id", classes)):
            if annotation[key] not in known:
                raise ValueError(f"annotations[{number}] has {key} {annotation[key]!r:.40}, which is not in the file")
    names = [classes[annotation["category_id"]] for annotation in annotations]
    _say_others(file, annotations, points, say)
    taken = set(names) if numbers_of.are_named else classes_taken(file, names, say)
    for name, annotation in zip(names, annotations, strict=True):
        if name in taken:
            _add(lists[pictures[annotation["image_id"]]], annotation, numbers_of.number(name), points)
    return {name: found.faces() for name, found in lists.items()}


def _say_others(file: Path, annotations: Any, points: int, say: Callable[[str], None]) -> None:
    given = [annotation.get("keypoints") for annotation in annotations]
    counts = Counter(len(k) // _KEYPOINT_VALUES for k in given if isinstance(k, list) and k)
    del counts[points]
    if points and counts:
        most, number = counts.most_common(1)[0]
        say(f"labels {file}: {number} annotations have {most} keypoints, which are passed over: the model has {points}")


def _by_id(entries: Any, name: str) -> dict[Any, str]:
    found = {}
    for entry in entries:
        if not isinstance(entry[name], str):
            raise ValueError(f"{name} {entry[name]!r:.40} is no text")
        found[entry["id"]] = entry[name]
    if len(found) < len(entries):
        raise ValueError(f"two entries with {name} have one id")
    return found


def _add(faces: FaceList, annotation: Any, number: int, count: int) -> None:
    left, top, width, height = numbers(annotation["bbox"], 4, "a bbox")
    keypoints, points, size = annotation.get("keypoints"), None, _KEYPOINT_VALUES * count
    if count and isinstance(keypoints, list) and len(keypoints) == size:
        values = numbers(keypoints, size, "keypoints")
        if min(values[2::_KEYPOINT_VALUES]) > 0:
            points = [value for at in range(0, size, _KEYPOINT_VALUES) for value in values[at : at + 2]]
    faces.add((left, top, left + width, top + height), points, annotation.get("iscrowd") in (1, True), number)
