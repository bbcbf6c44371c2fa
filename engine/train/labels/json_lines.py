"""JSON lines as `retinaface-trt detect` prints them, one object per picture; landmarks where they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.heads import ValueHead
from engine.pictures.classes import ClassNumbers
from engine.pictures.labels import numbers, read_entries
from engine.text import represented
from engine.train.labels.labelled import FaceList, Faces


def read_json_lines(file: Path, numbers_of: ClassNumbers, points: int, values: Sequence[ValueHead]) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name; InvalidArgumentError: see read_entries.

    A face is {"box": [x1, y1, x2, y2], "landmarks": [[x, y], ...]}; without landmarks, or with null, it has none. For a
    model with several classes it has the name of its class as "class", as `detect` prints it, or as "label". For one
    with heads of plain values it has them as "values", lists by name; each may be missing. Other keys, such as the
    score, are ignored.

    Args:
        file: with the labels.
        numbers_of: the model's classes.
        points: how many landmarks a face has; with none, those of labels are passed over.
        values: the model's heads of plain values.
    """
    return read_entries(file, partial(_faces, numbers_of, points, values))


def _faces(numbers_of: ClassNumbers, count: int, values: Sequence[ValueHead], given: Sequence[Any]) -> Faces:
    faces = FaceList(count)
    for face in given:
        box = numbers(face["box"], 4, "a box")
        points = face.get("landmarks")
        faces.add(box, None if points is None or not count else _points(points, count), number=numbers_of.of_face(face))
    if not values:
        return faces.faces()
    rows = np.array([_values(face.get("values"), values) for face in given], np.float32)
    return replace(faces.faces(), values=rows.reshape(len(given), sum(head.size for head in values)))


def _values(given: Any, heads: Sequence[ValueHead]) -> list[float]:
    """Return the numbers of all heads, NaN of those that a face does not have."""
    if given is not None and not isinstance(given, dict):
        raise ValueError(f"values is {represented(given)}, expected lists of numbers by the names of heads")
    found, known = [], {head.name for head in heads}
    if unknown := sorted((given or {}).keys() - known):
        raise ValueError(f"values has {represented(unknown[0])}, expected {', '.join(sorted(known))}, as the model has")
    for head in heads:
        own = (given or {}).get(head.name)
        found += [math.nan] * head.size if own is None else numbers(own, head.size, f"values.{head.name}")
    return found


def _points(points: Any, count: int) -> list[float]:
    if not isinstance(points, list) or len(points) != count:
        given = f"{len(points)} points" if isinstance(points, list) else represented(points)
        raise ValueError(f"landmarks are {given}, expected {count} points [x, y], as the model has them, or none")
    return list(chain.from_iterable(numbers(point, 2, "a landmark") for point in points))
