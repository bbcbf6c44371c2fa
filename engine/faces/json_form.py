"""Faces as JSON holds them, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import InvalidArgumentError
from engine.faces.checks import as_floats
from engine.text import represented
from engine.untrusted.limits import MAX_FACES_VERTICES, MAX_MESH_VERTICES

if TYPE_CHECKING:
    from engine.faces.pictured import PicturedFaces

_PIXEL_DIGITS, _SCORE_DIGITS, _COLOUR_DIGITS = 2, 5, 4
_SIGNIFICANT = 7  # digits of values, about what float32 has
_EXPECTED = 'expected {"faces": [{"box": [x1, y1, x2, y2], "score": S}, ...]}'


def to_values(found: PicturedFaces, *, meshes: bool = False) -> dict[str, Any]:
    """Return lists and dictionaries of numbers; see Detections.to_json."""
    faces: list[dict[str, Any]] = [
        {"box": _rounded(box), "score": round(score, _SCORE_DIGITS)}
        for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
    ]
    if found.landmarks is not None:
        for face, points in zip(faces, found.landmarks.tolist(), strict=True):
            face["landmarks"] = list(map(_rounded, points))
    if found.classes is not None:
        for face, number in zip(faces, found.classes.tolist(), strict=True):
            face["class"] = found.class_names[number - 1] if found.class_names else number
    if found.values:
        for row, face in enumerate(faces):
            lists = {name: array[row].tolist() for name, array in found.values.items()}
            face["values"] = {name: [float(f"{v:.{_SIGNIFICANT}g}") for v in values] for name, values in lists.items()}
    surface = _add_meshes(faces, found) if meshes else {}
    about = {} if found.image_size is None else {"image_size": list(found.image_size)}
    classes = {"classes": list(found.class_names)} if found.class_names else {}
    return {**about, **classes, "faces": faces, **surface}


def _add_meshes(faces: list[dict[str, Any]], found: PicturedFaces) -> dict[str, Any]:
    """Add the meshes to the faces that have one; return what all have in common."""
    there = np.flatnonzero(found.has_mesh)
    for key, array, digits in (("vertices", found.vertices, _PIXEL_DIGITS), ("colours", found.colours, _COLOUR_DIGITS)):
        if array is not None:
            for index in there:
                faces[index][key] = np.round(array[index].astype(np.float64), digits).tolist()
    return {"triangles": found.triangles.tolist()} if len(there) and found.triangles is not None else {}


def from_values(values: Any) -> dict[str, Any]:
    """Return the arguments of Detections; see Detections.from_json.

    Raises:
        InvalidArgumentError: an entry is missing, or no number; the message names it.
    """
    if not isinstance(values, dict) or not isinstance(values.get("faces"), list):
        raise InvalidArgumentError(f"the faces are {represented(values)}, {_EXPECTED}")
    faces = values["faces"]
    for index, face in enumerate(faces):
        if not isinstance(face, dict) or not {"box", "score"} <= face.keys():
            raise InvalidArgumentError(f"faces[{index}] is {represented(face)}, {_EXPECTED}")
    names = values.get("classes", [])
    return {
        "boxes": [as_floats(face["box"], f"faces[{i}].box", 4) for i, face in enumerate(faces)],
        "scores": [as_floats(face["score"], f"faces[{i}].score") for i, face in enumerate(faces)],
        "landmarks": _landmarks(faces),
        "image_size": values.get("image_size"),
        "classes": _classes(faces, names),
        "values": _plain(faces),
        "class_names": names,
        "vertices": (vertices := _of_vertices(faces, "vertices")),
        "triangles": None if vertices is None else values.get("triangles"),
        "colours": _of_vertices(faces, "colours"),
    }


def _landmarks(faces: list[dict[str, Any]]) -> list[Any] | None:
    if not _all_have(faces, "landmarks"):
        return None
    first = faces[0]["landmarks"]
    count = len(first) if isinstance(first, list) and first else 5
    return [as_floats(face["landmarks"], f"faces[{i}].landmarks", count, 2) for i, face in enumerate(faces)]


def _classes(faces: list[dict[str, Any]], names: Any) -> list[Any] | None:
    """Return the numbers of the faces' classes: the places of their names among all names, from 1."""
    if not isinstance(names, list) or (not names and not any(type(face.get("class")) is int for face in faces)):
        return None  # Detections refuses names that are no list; without names, a class in words is another program's
    if not _all_have(faces, "class"):
        return [] if names and not faces else None
    numbers = {name: number for number, name in enumerate(names, 1) if isinstance(name, str)}
    for i, face in enumerate(faces):
        if not (face["class"] in numbers if isinstance(face["class"], str) else type(face["class"]) is int):
            known = f"one of: {', '.join(map(represented, names))}" if names else "a number from 1"
            raise InvalidArgumentError(f"faces[{i}].class is {represented(face['class'])}, expected {known}")
    return [numbers.get(face["class"], face["class"]) for face in faces]


def _plain(faces: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the faces' values, a row of each face, by name."""
    if not _all_have(faces, "values"):
        return {}
    for i, face in enumerate(faces):
        if not isinstance(face["values"], dict) or face["values"].keys() != faces[0]["values"].keys():
            expected = "lists of numbers under the same names as in faces[0]"
            raise InvalidArgumentError(f"faces[{i}].values is {represented(face['values'])}, expected {expected}")
    lengths = {name: len(v) if isinstance(v, list) else 0 for name, v in faces[0]["values"].items()}
    return {
        name: [as_floats(face["values"][name], f"faces[{i}].values.{name}", size) for i, face in enumerate(faces)]
        for name, size in lengths.items()
    }


def _of_vertices(faces: list[dict[str, Any]], key: str) -> list[Any] | None:
    """Return a triple for each vertex of the faces' meshes; NaN for a face without one: engines decode the best."""
    there = [face[key] for face in faces if face.get(key) is not None]
    if not there:
        return None
    count = len(there[0]) if isinstance(there[0], list) else 0
    if count > MAX_MESH_VERTICES or count * len(faces) > MAX_FACES_VERTICES:
        raise InvalidArgumentError(
            f"{len(faces)} faces have meshes of {count} vertices, expected at most {MAX_MESH_VERTICES:,} in one, and "
            f"{MAX_FACES_VERTICES:,} in all"
        )
    nothing = np.full((count, 3), np.nan, np.float32)
    return [
        nothing if face.get(key) is None else as_floats(face[key], f"faces[{i}].{key}", count, 3)
        for i, face in enumerate(faces)
    ]


def _all_have(faces: list[dict[str, Any]], key: str) -> bool:
    """Return whether all faces have something; InvalidArgumentError if only some have."""
    known = [face.get(key) is not None for face in faces]
    if any(known) and not all(known):
        raise InvalidArgumentError(f"faces[{known.index(False)}] has no {key}, but others have")
    return any(known)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, _PIXEL_DIGITS) for value in values]
