"""JSON lines as `retinaface-trt detect` prints them, one object per picture; landmarks where they are given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from engine.pictures.labels import numbers, read_entries
from engine.train.labels.labelled import FaceList, Faces


def read_json_lines(file: Path) -> dict[str, Faces]:
    """Return the faces of each picture, by the picture's name; InvalidArgumentError: see read_entries.

    A face is {"box": [x1, y1, x2, y2], "landmarks": [[x, y], ...]}; without landmarks, or with null, it has none. Other
    keys, such as the score, are ignored.
    """
    return read_entries(file, _faces)


def _faces(given: Sequence[Any]) -> Faces:
    faces = FaceList()
    for face in given:
        points = face.get("landmarks") if isinstance(face, dict) else None
        faces.add(numbers(face["box"], 4, "a box"), None if points is None else _points(points))
    return faces.faces()


def _points(points: Any) -> list[float]:
    if not isinstance(points, list) or len(points) != 5:
        raise ValueError("landmarks are not five points [x, y]")
    return list(chain.from_iterable(numbers(point, 2, "a landmark") for point in points))
