"""Points and values of labels in JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config.heads import ValueHead
from engine.errors import InvalidArgumentError
from engine.metrics.heads import HeadLabels
from engine.pictures.heads import read_heads, values_of

HEADS = (ValueHead("age", 1), ValueHead("pose", 3))


def read(folder: Path, points: int, *faces: dict[str, Any]) -> tuple[dict[str, HeadLabels] | None, list[str]]:
    """What is read of a picture with these faces and of one without any, and what is said."""
    path = folder / "labels.jsonl"
    lines = [{"image": "a", "faces": [{"box": [0, 0, 9, 9], **face} for face in faces]}, {"image": "b", "faces": []}]
    path.write_text("\n".join(map(json.dumps, lines)))
    said: list[str] = []
    return read_heads(path, points, HEADS, said.append), said


@pytest.mark.parametrize("points", [1, 4, 5, 68])
def test_faces_have_points_and_values_or_none(points: int, tmp_path: Path, rng: np.random.Generator) -> None:
    own = rng.uniform(0, 9, (points, 2)).astype(np.float32)
    unseen = own.copy()
    unseen[-1] = -1  # is not labelled
    found, said = read(
        tmp_path,
        points,
        {"landmarks": own.tolist(), "values": {"pose": [1, 2, 3], "size": [7]}},
        {"landmarks": unseen.tolist(), "values": {"age": [30], "pose": None}},
        {"landmarks": [[0, 0]] * (points + 1), "values": None},
        {"landmarks": None},
    )
    assert found is not None
    landmarks, values = found["a"].landmarks, found["a"].values
    assert landmarks is not None
    np.testing.assert_array_equal(landmarks[0], own)
    assert landmarks.shape == (4, points, 2)
    assert np.isnan(landmarks[1:]).all()
    nan = np.nan
    np.testing.assert_array_equal(values["age"], [[nan], [30], [nan], [nan]])
    np.testing.assert_array_equal(values["pose"], [[1, 2, 3], *[[nan] * 3] * 3])
    assert {name: array.shape for name, array in found["b"].values.items()} == {"age": (0, 1), "pose": (0, 3)}
    assert len(said) == 1
    assert f"1 faces have other numbers of points, such as {points + 1}, which are not compared: the model" in said[0]


def test_points_of_values_may_be_unlabelled() -> None:
    heads = (ValueHead("chin", 4, "points"), ValueHead("pose", 4))
    for chin, known in (
        ([1, 2, -1, 5], True),
        ([5, -1, -1, 3], True),
        ([1, 2, -1, -1], False),
        ([-1, -1, 3, 4], False),
    ):
        found = values_of({"chin": chin, "pose": [-1, -1, 0, 0]}, heads)
        np.testing.assert_array_equal(found, [*(chin if known else [np.nan] * 4), -1, -1, 0, 0])


def test_models_without_points_pass_over_those_of_labels(tmp_path: Path) -> None:
    found, said = read(tmp_path, 0, {"landmarks": [[1, 2]], "values": {"age": [3]}})
    assert found is not None
    assert found["a"].landmarks is None
    assert not said


def test_labels_need_not_have_any(tmp_path: Path) -> None:
    assert read(tmp_path, 5, {}, {"landmarks": None, "values": {"size": [1]}}) == (None, [])


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        ({"landmarks": 3}, "landmarks are 3, expected 2 points"),
        ({"landmarks": [[1, 2], [3]]}, "a landmark is not 2 numbers"),
        ({"values": [1]}, "values is \\[1\\], expected lists of numbers by the names of heads"),
        ({"values": {"pose": [1, 2]}}, "values.pose is not 3 numbers"),
        ({"values": {"age": [float("nan")]}}, "line 1: "),
    ],
)
def test_malformed_points_and_values_are_named(face: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=expected):
        read(tmp_path, 2, face)
