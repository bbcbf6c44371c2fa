"""Faces as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Detections, InvalidArgumentError
from engine.pictures.labels import read_labels
from tests.support.faces import random_detections


@pytest.mark.parametrize("size", [None, (480, 640)])
@pytest.mark.parametrize("landmarks", [True, False])
@pytest.mark.parametrize("count", [1, 7])
def test_json_keeps_the_faces_to_its_digits(
    rng: np.random.Generator, count: int, landmarks: bool, size: tuple[int, int] | None
) -> None:
    found = random_detections(rng, count)
    faces = Detections(found.boxes, found.scores, found.landmarks if landmarks else None, size)
    text = json.dumps(faces.to_json(), allow_nan=False)
    back = Detections.from_json(json.loads(text))
    assert json.dumps(back.to_json()) == text
    assert Detections.from_json(back.to_json()) == back
    assert back.image_size == size
    # Half of the last digit that is written, and float32's own rounding.
    assert np.allclose(back.boxes, faces.boxes, rtol=1e-7, atol=0.005001)
    assert np.allclose(back.scores, faces.scores, rtol=1e-7, atol=0.0000051)
    assert (back.landmarks is None) == (not landmarks)
    if faces.landmarks is not None and back.landmarks is not None:
        assert np.allclose(back.landmarks, faces.landmarks, rtol=1e-7, atol=0.005001)


@pytest.mark.parametrize("names", [(), ("mask", "no mask")])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_json_keeps_classes_points_and_values(rng: np.random.Generator, count: int, names: tuple[str, ...]) -> None:
    found = random_detections(rng, count)
    faces = Detections(
        found.boxes,
        found.scores,
        rng.integers(0, 99, (count, 98, 2)) if count else None,
        classes=rng.integers(1, 3, count) if count or names else None,
        class_names=names,
        values={"age": rng.integers(0, 99, (count, 1)), "pose": rng.normal(size=(count, 3))} if count else None,
    )
    text = json.dumps(faces.to_json(), allow_nan=False)
    back = Detections.from_json(json.loads(text))
    assert json.dumps(back.to_json()) == text
    assert back.class_names == names
    assert [face.class_name for face in back] == [face.class_name for face in faces]
    assert [face.class_id for face in back] == [face.class_id for face in faces]
    for name, array in faces.values.items():
        np.testing.assert_allclose(back.values[name], array, rtol=1e-6)  # seven digits


def test_the_form_is_as_documented() -> None:
    points: list[Any] = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.126]]
    faces = Detections([[1.234, 2, 3, 4]], [0.98765432], [points], (30, 40))
    face = {"box": [1.23, 2.0, 3.0, 4.0], "score": 0.98765, "landmarks": [*points[:4], [9.0, 10.13]]}
    assert faces.to_json() == {"image_size": [30, 40], "faces": [face]}
    assert Detections([], []).to_json() == {"faces": []}
    more = Detections([[0, 0, 1, 1]], [0.5], classes=[2], class_names=["a", "b"], values={"age": [[1 / 3]]})
    face = {"box": [0.0, 0.0, 1.0, 1.0], "score": 0.5, "class": "b", "values": {"age": [0.3333333]}}
    assert more.to_json() == {"classes": ["a", "b"], "faces": [face]}
    assert Detections.from_json({"faces": []}) == Detections([], [])


def test_a_line_of_detect_is_read_by_this_and_by_the_reader_of_labels(tmp_path: Path) -> None:
    faces = Detections([[1, 2, 30.5, 40]], [0.75], np.zeros((1, 5, 2)), (50, 60))
    line = {"image": "a.jpg", **faces.to_json()}
    assert Detections.from_json(line) == faces
    path = tmp_path / "found.jsonl"
    path.write_text(json.dumps(line) + "\n")
    assert read_labels(path)["a.jpg"].tolist() == faces.boxes.tolist()


@pytest.mark.parametrize("there", [0, 1, 3])
def test_json_keeps_meshes_if_asked(rng: np.random.Generator, there: int) -> None:
    """Of three faces the first ones have one."""
    found = random_detections(rng, 3)
    vertices = rng.uniform(-9, 500, (3, 4, 3)).astype(np.float32)
    vertices[there:] = np.nan
    colours = np.where(np.isnan(vertices), np.nan, rng.uniform(0, 1, vertices.shape))
    faces = Detections(found.boxes, found.scores, vertices=vertices, triangles=[[0, 1, 2], [3, 2, 1]], colours=colours)
    assert not any({"vertices", "colours"} & face.keys() for face in faces.to_json()["faces"])
    assert "triangles" not in faces.to_json()
    values = json.loads(json.dumps(faces.to_json(meshes=True), allow_nan=False))
    for key in ("vertices", "colours"):
        assert [key in face for face in values["faces"]] == [i < there for i in range(3)]
    back = Detections.from_json(values)
    if not there:
        assert back.vertices is back.colours is None
        assert "triangles" not in values
        return
    assert np.allclose(np.asarray(back.vertices), vertices, rtol=1e-7, atol=0.005001, equal_nan=True)
    assert np.allclose(np.asarray(back.colours), colours, rtol=0, atol=0.0000501, equal_nan=True)
    assert np.asarray(back.triangles).tolist() == [[0, 1, 2], [3, 2, 1]]
    assert back.to_json(meshes=True) == values


FACE = {"box": [1, 2, 3, 4], "score": 0.5, "landmarks": [[0, 0]] * 5}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, 'the faces are None, expected {"faces"'),
        ("{}", "the faces are '{}'"),
        ([FACE], "the faces are"),
        ({}, "the faces are {}"),
        ({"faces": {}}, "the faces are"),
        ({"faces": [FACE, 3]}, r"faces\[1\] is 3"),
        ({"faces": [{"box": [1, 2, 3, 4]}]}, r"faces\[0\] is .*score"),
        ({"faces": [{**FACE, "box": [1, 2, 3]}]}, r"faces\[0\]\.box has shape \[3\], expected float32 \[4\]"),
        ({"faces": [FACE, {**FACE, "box": [1, 2, 3, float("nan")]}]}, r"faces\[1\]\.box holds a value that is not"),
        ({"faces": [{**FACE, "box": [1, 2, 3, "4"]}]}, r"faces\[0\]\.box is a list"),
        ({"faces": [{**FACE, "box": {"x": 1}}]}, r"faces\[0\]\.box is a dict"),
        ({"faces": [{**FACE, "score": [0.5]}]}, r"faces\[0\]\.score has shape \[1\]"),
        ({"faces": [{**FACE, "score": 10**5000}]}, r"faces\[0\]\.score is a int"),
        ({"faces": [{**FACE, "score": True}]}, r"faces\[0\]\.score is a bool"),
        ({"faces": [FACE, {**FACE, "landmarks": [[0, 0]] * 4}]}, r"faces\[1\]\.landmarks has shape \[4, 2\]"),
        ({"faces": [{**FACE, "class": "c"}], "classes": ["a"]}, r"faces\[0\]\.class is 'c', expected one of: 'a'"),
        ({"faces": [FACE, {**FACE, "class": 1}]}, r"faces\[0\] has no class, but others have"),
        ({"faces": [{**FACE, "class": 1}], "classes": "a"}, "class_names is 'a'"),
        ({"faces": [{**FACE, "class": 0}]}, r"classes is \[0\], expected whole numbers"),
        ({"faces": [{**FACE, "values": 1}]}, r"faces\[0\]\.values is 1, expected lists of numbers"),
        ({"faces": [{**FACE, "values": {"a": 1}}]}, r"faces\[0\]\.values\.a has shape"),
        ({"faces": [{**FACE, "values": {"a": [1]}}, {**FACE, "values": {}}]}, r"faces\[1\]\.values is {}, expected"),
        ({"faces": [FACE, {**FACE, "landmarks": None}]}, r"faces\[1\] has no landmarks, but others have"),
        ({"faces": [FACE, {**FACE, "vertices": [[0, 0]]}]}, r"faces\[1\]\.vertices has shape \[1, 2\]"),
        (
            {"faces": [{**FACE, "vertices": [[0, 0, 0]]}, {**FACE, "vertices": [[0, 0, 0]] * 2}]},
            r"faces\[1\]\.vertices has shape \[2, 3\]",
        ),
        (
            {"faces": [{**FACE, "vertices": [[0, 0, 0]] * 8193}, FACE]},
            "2 faces have meshes of 8193 vertices, expected at most 8,192 in one, and 16,777,216 in all",
        ),
        (
            {"faces": [{**FACE, "vertices": [[0, 0, 0]] * 8000}] + [FACE] * 2200},
            "2201 faces have meshes of 8000",
        ),
        ({"faces": [{**FACE, "vertices": [[0, 0, 0]]}], "triangles": [[0, 0, 1]]}, r"triangles is \[\[0, 0, 1\]\]"),
        ({"faces": [{**FACE, "colours": [[0, 0, 1]]}]}, r"colours has shape \[1, 1, 3\], expected vertices, too"),
        (
            {"faces": [{**FACE, "vertices": [[0, 0, 0]], "colours": [[0, 0, 1]] * 2}]},
            r"colours has shape \[1, 2, 3\], expected that of the vertices, \[1, 1, 3\]",
        ),
        ({"faces": [FACE], "image_size": [1]}, r"image_size is \[1\]"),
    ],
)
def test_what_is_not_the_form_is_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Detections.from_json(values)
