"""Points and values of faces in labels, for models of any points and heads of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.heads import ValueHead, split_values
from engine.metrics.heads import HeadLabels
from engine.pictures.labels import numbers, read_entries
from engine.text import represented
from engine.types import FloatArray


def points_of(points: Any, count: int) -> list[float]:
    """Return x and y of each of a face's points in JSON lines, [[x, y], ...].

    Raises:
        ValueError: they are no points, or not as many.
    """
    if not isinstance(points, list) or len(points) != count:
        given = f"{len(points)} points" if isinstance(points, list) else represented(points)
        raise ValueError(f"landmarks are {given}, expected {count} points [x, y], as the model has them, or none")
    return list(chain.from_iterable(numbers(point, 2, "a landmark") for point in points))


def clear_unlabelled(landmarks: FloatArray) -> None:
    """Make NaN all points of each face, [N, L, 2], of which one is -1 -1: it is not labelled."""
    landmarks[(landmarks == -1).all(2).any(1)] = np.nan


def values_of(given: Any, heads: Sequence[ValueHead]) -> list[float]:
    """Return the numbers of all heads from a face's "values" in JSON lines, NaN of those that it does not have.

    Points of which one is -1 -1 are not labelled, as with landmarks.

    Raises:
        ValueError: they are no lists of numbers by name, or not as many.
    """
    if given is not None and not isinstance(given, dict):
        raise ValueError(f"values is {represented(given)}, expected lists of numbers by the names of heads")
    found = []
    for head in heads:
        own = (given or {}).get(head.name)
        given_numbers = [math.nan] * head.size if own is None else numbers(own, head.size, f"values.{head.name}")
        if head.is_points and (-1, -1) in zip(given_numbers[::2], given_numbers[1::2], strict=True):
            given_numbers = [math.nan] * head.size
        found += given_numbers
    return found


def read_heads(
    path: Path, points: int, heads: Sequence[ValueHead], say: Callable[[str], None]
) -> dict[str, HeadLabels] | None:
    """Return the points and values of each image's faces, by the image's name; None if no face has any.

    Args:
        path: of labels in JSON lines, which read_labels takes.
        points: how many the models have; faces with another number count as faces without.
        heads: of values that the models have; values of other heads are passed over.
        say: is told of faces with another number of points.

    Raises:
        InvalidArgumentError: see read_labels; or points or values are malformed.
    """
    others: list[int] = []
    found = read_entries(path, partial(_labels, points, heads, others))
    if others:
        given = f"{len(others)} faces have other numbers of points, such as {others[0]}"
        say(f"labels {path}: {given}, which are not compared: the model has {points}")
    with_points = any(not np.isnan(own.landmarks).all() for own in found.values() if own.landmarks is not None)
    with_values = any(not np.isnan(values).all() for own in found.values() for values in own.values.values())
    if not with_points and not with_values:
        return None
    return found


def _labels(points: int, heads: Sequence[ValueHead], others: list[int], faces: Sequence[Any]) -> HeadLabels:
    landmarks = np.full((len(faces), points, 2), np.nan, np.float32)
    for own, face in zip(landmarks, faces, strict=True):
        given = face.get("landmarks")
        if not points or given is None:
            continue
        if isinstance(given, list) and len(given) != points:
            others.append(len(given))
        else:
            own[:] = np.reshape(points_of(given, points), (points, 2))
    clear_unlabelled(landmarks)
    rows = np.array([values_of(face.get("values"), heads) for face in faces], np.float32)
    values = split_values(rows.reshape(len(faces), sum(head.size for head in heads)), heads)
    return HeadLabels(landmarks if points else None, values)
