"""JSON lines as `retinaface-trt detect` prints them, one object per picture; landmarks where they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.heads import ValueHead
from engine.pictures.classes import ClassNumbers
from engine.pictures.heads import points_of, values_of
from engine.pictures.labels import numbers, read_entries
from engine.text import represented
from engine.train.labels.labelled import FaceList, Faces


def read_json_lines(file: Path, numbers_of: ClassNumbers, points: int, values: Sequence[ValueHead]) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name; InvalidArgumentError: see read_entries.

    A face is {"box": [x1, y1, x2, y2], "landmarks": [[x, y], ...]}; without landmarks, or with null, it has none. For a
    model with several classes it has the name of its class as "class", as `detect` prints it, or as "label". For one
    with heads of values it has them as "values", lists by name, of points x and y of one after the other; each may be
    missing. Other keys, such as the score, are ignored.

    Args:
        file: with the labels.
        numbers_of: the model's classes.
        points: how many landmarks a face has; with none, those of labels are passed over.
        values: the model's heads of values.
    """
    return read_entries(file, partial(_faces, numbers_of, points, values))


def _faces(numbers_of: ClassNumbers, count: int, values: Sequence[ValueHead], given: Sequence[Any]) -> Faces:
    faces = FaceList(count)
    for face in given:
        box = numbers(face["box"], 4, "a box")
        points = face.get("landmarks")
        faces.add(
            box, None if points is None or not count else points_of(points, count), number=numbers_of.of_face(face)
        )
    if not values:
        return faces.faces()
    rows = np.array([_values(face.get("values"), values) for face in given], np.float32)
    return replace(faces.faces(), values=rows.reshape(len(given), sum(head.size for head in values)))


def _values(given: Any, heads: Sequence[ValueHead]) -> list[float]:
    """See values_of; training refuses names that no head has."""
    known = {head.name for head in heads}
    if isinstance(given, dict) and (unknown := sorted(given.keys() - known)):
        raise ValueError(f"values has {represented(unknown[0])}, expected {', '.join(sorted(known))}, as the model has")
    return values_of(given, heads)
