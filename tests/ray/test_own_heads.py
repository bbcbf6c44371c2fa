"""Tables of a model with several classes, seven points, plain values and meshes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from engine import Detections, TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.rows import Detection
from engine.scale import Columns, DetectFaces, Workers, detect_to_parquet
from tests.ray.results import BROKEN

pytestmark = pytest.mark.ray
LIST, FLOAT = pyarrow.list_, pyarrow.float32()
SIZES = {"error": pyarrow.string(), "height": pyarrow.int32(), "width": pyarrow.int32()}
BOXES = {"boxes": LIST(LIST(FLOAT, 4)), "scores": LIST(FLOAT)}
OWN = {
    **SIZES,
    **BOXES,
    "landmarks": LIST(LIST(LIST(FLOAT, 2), 7)),
    "classes": LIST(pyarrow.string()),
    "values_age": LIST(LIST(FLOAT, 1)),
    "values_height": LIST(LIST(FLOAT, 3)),
    "values_dense": LIST(LIST(FLOAT, 144)),
}
MESHES = dict.fromkeys(("vertices", "colours"), LIST(LIST(LIST(FLOAT, 3), 56)))


def row_of(faces: Detections) -> dict[str, Any]:
    """The row of a picture's faces, of their arrays."""
    assert faces.landmarks is not None
    assert faces.classes is not None
    assert faces.vertices is not None
    assert faces.colours is not None
    assert faces.image_size is not None
    return {
        "error": None,
        "height": faces.image_size[0],
        "width": faces.image_size[1],
        "boxes": faces.boxes.tolist(),
        "scores": faces.scores.tolist(),
        "landmarks": faces.landmarks.tolist(),
        "classes": [("mask", "no mask")[number - 1] for number in faces.classes.tolist()],
        **{f"values_{name}": faces.values[name].tolist() for name in ("age", "height", "dense")},
        "vertices": [None if np.isnan(mesh).any() else mesh.tolist() for mesh in faces.vertices],
        "colours": [None if np.isnan(mesh).any() else mesh.tolist() for mesh in faces.colours],
    }


def test_every_table_has_the_fields_of_its_model(detection: Detection, own: Detection) -> None:
    """Also one without pictures, or with bad ones only."""
    published = {**SIZES, **BOXES, "landmarks": LIST(LIST(LIST(FLOAT, 2), 5))}
    wanted = ((detection, published), (own, {**OWN, **MESHES}), (replace(own, meshes=False), OWN))
    for given, fields in wanted:
        detect = DetectFaces(given)
        for pictures in ([], [b"no picture", None]):
            table = detect(pyarrow.table({"bytes": pyarrow.array(pictures, pyarrow.binary())}))
            assert table.schema == pyarrow.schema(fields)
            assert table.drop_columns(["error"]).to_pylist() == [dict.fromkeys(list(fields)[1:])] * len(pictures)


@pytest.mark.usefixtures("cluster")
def test_files_hold_what_detect_finds(
    own: Detection, own_alone: TRTRetinaFace, pictures: Mapping[str, bytes], tmp_path: Path
) -> None:
    """Of pictures, of none, and of a file that is none; all have the same fields."""
    (tmp_path / "source").mkdir()
    table = pyarrow.table({"path": list(pictures), "bytes": list(pictures.values())})
    parquet.write_table(table.slice(0, 0), tmp_path / "source" / "a.parquet")
    parquet.write_table(table, tmp_path / "source" / "b.parquet")
    (tmp_path / "source" / "c.parquet").write_bytes(b"no table")
    done = detect_to_parquet(tmp_path / "source", tmp_path / "faces", own, Workers(2, batch_size=3), columns=Columns())
    tables = [parquet.read_table(file) for file in sorted((tmp_path / "faces").glob("*.parquet"))]
    assert [len(table) for table in tables] == [0, len(pictures), 1]
    for table in tables:
        assert table.schema == pyarrow.schema({"name": pyarrow.string(), **OWN, **MESHES})
    found = {name: own_alone.detect(content) for name, content in pictures.items() if name != "broken.jpg"}
    for row in tables[1].to_pylist():
        name = row.pop("name")
        if name == "broken.jpg":
            assert BROKEN in row.pop("error")
            assert row == dict.fromkeys(row)
        else:
            assert row == row_of(found[name])
    assert done.faces == sum(map(len, found.values()))
    # There are pictures with no face, with a mesh of each face, and with more faces than meshes.
    assert {min(len(faces), 4) for faces in found.values()} >= {0, 2, 4}
    with pytest.raises(InvalidArgumentError, match="holds faces of a run with other settings"):
        detect_to_parquet(tmp_path / "source", tmp_path / "faces", replace(own, meshes=False))
