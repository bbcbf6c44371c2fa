"""The exceptions: their classes, the tree that documents them, and what the package exports."""

from __future__ import annotations

import pickle
import re
from inspect import getmembers, isclass

import pytest

import engine
from engine import errors
from engine.text import MOST_CHARACTERS

CLASSES: dict[str, type[Exception]] = {
    name: kind
    for name, kind in getmembers(errors, isclass)
    if kind.__module__ == errors.__name__ and issubclass(kind, Exception)
}


def test_the_tree_shows_every_class_with_its_bases() -> None:
    """A line is the branches, which are four characters a level, the name, and any base from outside."""
    assert errors.__doc__ is not None
    tree: dict[str, tuple[str, ...]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"((?:│   |├── |└── )*)(\w+Error)(?: +\(also (\w+)\))?(?:  |$)", line):
            branches, name, other = match.groups()
            path[len(branches) // 4 :] = [name]
            tree[name] = tuple(filter(None, (path[-2] if len(path) > 1 else "Exception", other)))
    assert tree == {name: tuple(base.__name__ for base in kind.__bases__) for name, kind in CLASSES.items()}


def test_every_exception_is_exported() -> None:
    assert {name for name in engine.__all__ if name.endswith("Error")} == CLASSES.keys()
    for name, kind in CLASSES.items():
        assert getattr(engine, name) is kind


def test_all_names_are_there_and_sorted() -> None:
    assert engine.__all__ == sorted(engine.__all__)
    for name in engine.__all__:
        assert getattr(engine, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = engine.Nothing


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_messages_are_one_printable_line(name: str) -> None:
    error = CLASSES[name]("a\x1b[2Jb\nc\udcff cannot be read")
    expected = r"a\x1b[2Jb\nc\udcff cannot be read"
    assert str(error) == expected
    assert error.args == (expected,)
    assert str(pickle.loads(pickle.dumps(error))) == expected
    assert len(str(CLASSES[name]("x" * 1_000_000))) <= MOST_CHARACTERS
