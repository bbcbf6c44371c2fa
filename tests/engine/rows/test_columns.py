"""The columns of tables of faces, and what is in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.config.heads import ValueHead
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.faces import Detections
from engine.mesh.dense.output import MeshOutput
from engine.rows import columns_of, face_columns

PUBLISHED = {
    "height": ("int32", ()),
    "width": ("int32", ()),
    "boxes": ("float32", (-1, 4)),
    "scores": ("float32", (-1,)),
    "landmarks": ("float32", (-1, 5, 2)),
}
MASKS = ("mask", "no mask", "half")
# The names of values may be those of other columns.
VALUES = (ValueHead("age", 1), ValueHead("height", 3), ValueHead("dense", 144))
MESHES = MeshOutput("dense.npz", "0" * 64, num_vertices=7, max_meshes=2, colours=True)
SEVEN = (1, 0, 2, 4, 3, 5, 6)


def _own(**settings: object) -> RetinaFaceConfig:
    return replace(preset("mobilenet0.25"), name="own", **settings)  # type: ignore[arg-type]


def _described(config: RetinaFaceConfig, meshes: MeshOutput | None = None) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {column.name: (column.datatype, column.shape) for column in face_columns(config, meshes)}


@pytest.mark.parametrize("name", ["mobilenet0.25", "retinaface-resnet152", "facedetector-resnet50", "context"])
def test_published_heads_have_these_columns(name: str) -> None:
    """Also those without landmarks."""
    assert _described(preset(name)) == PUBLISHED
    assert list(_described(preset(name))) == list(PUBLISHED)


def test_other_heads_have_their_columns() -> None:
    boxes = {name: PUBLISHED[name] for name in ("height", "width", "boxes", "scores")}
    texts = {"classes": ("text", (-1,))}
    assert _described(_own(classes=MASKS)) == {**PUBLISHED, **texts}
    assert _described(_own(class_coding="sigmoid")) == PUBLISHED
    assert _described(_own(mirrored_points=SEVEN)) == {**PUBLISHED, "landmarks": ("float32", (-1, 7, 2))}
    assert _described(_own(heads=("class", "box"), classes=MASKS)) == {**boxes, **texts}
    values = {f"values_{name}": ("float32", (-1, size)) for name, size in (("age", 1), ("height", 3), ("dense", 144))}
    assert _described(_own(values=VALUES)) == {**PUBLISHED, **values}
    every = {**PUBLISHED, **texts, **values, "vertices": ("float32", (-1, 7, 3))}
    assert _described(_own(classes=MASKS, values=VALUES), replace(MESHES, colours=False)) == every
    every["colours"] = every["vertices"]
    assert _described(_own(classes=MASKS, values=VALUES), MESHES) == every


def _random(rng: np.random.Generator, count: int, points: int | None) -> dict[str, Any]:
    """Return what Detections of a count of faces have, as arrays."""
    vertices = rng.normal(0, 1000, (count, 7, 3)).astype(np.float32)
    vertices[2:] = np.nan
    return {
        "boxes": rng.normal(0, 1000, (count, 4)).astype(np.float32),
        "scores": rng.random(count).astype(np.float32),
        "landmarks": None if points is None else rng.normal(0, 1000, (count, points, 2)).astype(np.float32),
        "image_size": (480, 640),
        "classes": rng.integers(1, 4, count),
        "values": {head.name: rng.normal(size=(count, head.size)).astype(np.float32) for head in VALUES},
        "vertices": vertices,
        "colours": np.where(np.isnan(vertices), vertices, rng.random(vertices.shape, np.float32)),
    }


@pytest.mark.parametrize("points", [5, 7, None])
def test_columns_hold_every_value_exactly(rng: np.random.Generator, points: int | None) -> None:
    heads = {"heads": ("class", "box")} if points is None else {"mirrored_points": SEVEN[:points]}
    config = _own(classes=MASKS, values=VALUES, **heads)
    given = [_random(rng, count, points) for count in (2, 0, 3)]
    found = [Detections(**faces, class_names=MASKS) for faces in given]
    columns = columns_of([found[0], "bad", *found[1:]], face_columns(config, MESHES))
    assert columns.pop("error") == [None, "bad", None, None]
    assert list(columns) == list(_described(config, MESHES))
    assert all(values[1] is None for values in columns.values())
    for row, faces in zip((0, 2, 3), given, strict=True):
        at = {name: values[row] for name, values in columns.items()}
        assert (at.pop("height"), at.pop("width")) == (480, 640)
        assert at.pop("classes") == [MASKS[number - 1] for number in faces["classes"]]
        for name in ("vertices", "colours"):
            assert at.pop(name) == [*faces[name][:2].tolist(), *[None] * max(0, len(faces["scores"]) - 2)]
        arrays = {"boxes": faces["boxes"], "scores": faces["scores"], "landmarks": faces["landmarks"]}
        arrays |= {f"values_{name}": array for name, array in faces["values"].items()}
        assert at == {name: array.tolist() for name, array in arrays.items() if array is not None}


def test_models_as_published_without_landmarks_have_nulls() -> None:
    columns = columns_of([Detections([[1, 2, 3, 4]], [0.5])], face_columns(preset("context")))
    nothing = {"error": [None], "height": [None], "width": [None], "landmarks": [None]}
    assert columns == {**nothing, "boxes": [[[1.0, 2.0, 3.0, 4.0]]], "scores": [[0.5]]}
