"""Classes of labels in JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidArgumentError
from engine.pictures.classes import ClassNumbers, listed, read_classes

NAMES = ("mask", "no mask")


def written(folder: Path, *faces: dict[str, Any]) -> Path:
    """Labels of one picture with these faces, and of one without any."""
    path = folder / "labels.jsonl"
    lines = [{"image": "a", "faces": [{"box": [0, 0, 9, 9], **face} for face in faces]}, {"image": "b", "faces": []}]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_numbers_are_those_of_the_names(tmp_path: Path) -> None:
    path = written(tmp_path, {"class": "no mask"}, {"label": "mask"}, {"class": "mask", "label": "other"})
    classes = read_classes(path, NAMES)
    assert classes is not None
    assert {name: numbers.tolist() for name, numbers in classes.items()} == {"a": [2, 1, 1], "b": []}


def test_labels_need_not_have_classes(tmp_path: Path) -> None:
    assert read_classes(written(tmp_path, {}, {"score": 1}), NAMES) is None


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        ({}, "a face has no class"),
        ({"class": "hat"}, "the class 'hat' is not of the model, whose config has mask, no mask: change the labels"),
        ({"class": 1}, "the class 1 is not of the model"),
    ],
)
def test_all_faces_have_a_class_of_the_model(face: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=f"line 1: .*{expected}"):
        read_classes(written(tmp_path, {"class": "mask"}, face), NAMES)


def test_one_class_takes_every_name() -> None:
    assert [ClassNumbers(("face",)).number(name) for name in ("face", "hat", None, 3)] == [1] * 4


def test_long_lists_are_short() -> None:
    assert listed("abcdefghij") == "a, b, c, d, e, f, g, h and 2 more"
