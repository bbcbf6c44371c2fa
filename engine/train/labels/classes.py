"""Which class of a model a face of labels has. Of a model with one class: which classes of a data set are faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from engine.text import represented

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
                f"{given}, whose config has {_listed(self._names)}: change the labels, or give a --config that names "
                "their classes, or one with a single class"
            )
        return number


def classes_taken(file: Path, names: Iterable[str], say: Callable[[str], None]) -> set[str]:
    """Return the names of the classes that a model with one class takes as faces.

    If names contain "face", it is those: other classes are other things. Else it is all: data sets of faces also call
    them by what they show, such as "with_mask". `say` is told of both, unless there is only one class.

    Args:
        file: of the labels, for messages.
        names: of the classes that occur; a name may occur several times.
        say: takes messages.
    """
    found = sorted(set(names))
    taken = [name for name in found if "face" in name.lower()] or found
    if len(found) > 1:
        others = f"; others are not: {_listed([name for name in found if name not in taken])}" if taken != found else ""
        say(f"labels {file}: these classes are taken as faces: {_listed(taken)}{others}")
    return set(taken)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
