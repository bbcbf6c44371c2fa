"""Which class of a model a face of labels has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.pictures.labels import read_entries
from engine.text import represented
from engine.types import IntArray

ONE_CLASS = ("face",)
_NAMED = 8


class ClassNumbers:
    """The numbers of a model's classes, by the names that labels give.

    A model with one class takes every face as that one, whatever it is called.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Take the names of the classes from 1, as in RetinaFaceConfig."""
        self._names = tuple(names)
        self._numbers = {name: number for number, name in enumerate(self._names, 1)}

    @property
    def are_named(self) -> bool:
        """Whether names matter: there are several classes."""
        return len(self._names) > 1

    def number(self, name: object) -> int:
        """Return the number of a face's class, from 1.

        Raises:
            ValueError: there are several classes, and labels give none or another one.
        """
        if not self.are_named:
            return 1
        number = self._numbers.get(name) if isinstance(name, str) else None
        if number is None:
            given = "a face has no class" if name is None else f"the class {represented(name)} is not of the model"
            raise ValueError(
                f"{given}, whose config has {listed(self._names)}: change the labels, or give a --config that names "
                "their classes, or one with a single class"
            )
        return number

    def of_face(self, face: dict[str, Any]) -> int:
        """Return the number of a face of JSON lines, which has the name as "class", as `detect` prints it, or "label".

        Raises:
            ValueError: see number.
        """
        return self.number(face.get("class", face.get("label")))


def read_classes(path: Path, names: Sequence[str]) -> dict[str, IntArray] | None:
    """Return the classes of each image's faces, int32 [N] from 1, by the image's name; None if no face has any.

    Args:
        path: of labels in JSON lines, which read_labels takes.
        names: of the model's classes.

    Raises:
        InvalidArgumentError: see read_labels; or some faces have a class of the model and others none, or another one.
    """
    given = read_entries(path, lambda faces: ["class" in face or "label" in face for face in faces])
    if not any(map(any, given.values())):
        return None
    return read_entries(path, partial(_numbers, ClassNumbers(names)))


def _numbers(classes: ClassNumbers, faces: Sequence[Any]) -> IntArray:
    return np.array([classes.of_face(face) for face in faces], np.int32)


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
