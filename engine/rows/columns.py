"""The columns of tables of faces, as a model's heads make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.config.model import RetinaFaceConfig
from engine.faces import Detections
from engine.mesh.dense.output import MeshOutput

_PUBLISHED_POINTS = 5


@dataclass(frozen=True)
class FaceColumn:
    """A column of tables in which a row is a picture. It is null where the picture cannot be read.

    Attributes:
        name: of the column.
        datatype: of its values: "float32", "int32" or "text".
        shape: of a row's values, which are nested lists; -1 is the number of faces.
        of: returns a row's values: plain lists, numbers and texts, which hold every float32 exactly.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    of: Callable[[Detections], Any]


def face_columns(config: RetinaFaceConfig, meshes: MeshOutput | None = None) -> tuple[FaceColumn, ...]:
    """Return the columns for a model's faces, the same for all its pictures.

    They are the image's `height` and `width`, and of all its faces in one list each `boxes`, `scores` and `landmarks`
    as in Detections; with several classes `classes`, their names; `values_NAME` for each head of values; with
    meshes `vertices`, and `colours` if the engine gives them, null for a face that has no mesh.

    Args:
        config: of the model.
        meshes: of the engine, if its tables are to have them.
    """
    # Models as published have always had landmarks in tables, null where they have no such head.
    points = config.num_points or _PUBLISHED_POINTS * config.has_published_heads
    return (
        FaceColumn("height", "int32", (), lambda faces: faces.image_size and faces.image_size[0]),
        FaceColumn("width", "int32", (), lambda faces: faces.image_size and faces.image_size[1]),
        FaceColumn("boxes", "float32", (-1, 4), lambda faces: faces.boxes.tolist()),
        FaceColumn("scores", "float32", (-1,), lambda faces: faces.scores.tolist()),
        *([FaceColumn("landmarks", "float32", (-1, points, 2), _landmarks)] if points else []),
        *([FaceColumn("classes", "text", (-1,), _classes)] if config.num_classes > 2 else []),
        *(
            # Not the bare name, which the table may have for something else: the height of a face, a path.
            FaceColumn(f"values_{head.name}", "float32", (-1, head.size), partial(_values, head.name))
            for head in config.values
        ),
        *(
            [FaceColumn(name, "float32", (-1, *meshes.shape[1:]), partial(_of_meshes, name)) for name in meshes.names]
            if meshes
            else []
        ),
    )


def _landmarks(faces: Detections) -> Any:
    return None if faces.landmarks is None else faces.landmarks.tolist()


def _classes(faces: Detections) -> Any:
    return [face.class_name for face in faces]


def _values(name: str, faces: Detections) -> Any:
    return faces.values[name].tolist()


def _of_meshes(name: str, faces: Detections) -> Any:
    return [row.tolist() if there else None for row, there in zip(getattr(faces, name), faces.has_mesh, strict=True)]
