"""Which classes of a data set are faces, for a model that has no other class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from engine.pictures.classes import listed


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
        others = f"; others are not: {listed([name for name in found if name not in taken])}" if taken != found else ""
        say(f"labels {file}: these classes are taken as faces: {listed(taken)}{others}")
    return set(taken)
