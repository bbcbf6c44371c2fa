"""Faces as JSON holds them, and back."""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidArgumentError
from engine.faces.checks import as_floats
from engine.text import represented
from engine.types import FloatArray

_PIXEL_DIGITS, _SCORE_DIGITS = 2, 5
_EXPECTED = 'expected {"faces": [{"box": [x1, y1, x2, y2], "score": S}, ...]}'


def to_values(
    boxes: FloatArray, scores: FloatArray, landmarks: FloatArray | None, image_size: tuple[int, int] | None
) -> dict[str, Any]:
    """Return lists and dictionaries of numbers; see Detections.to_json."""
    faces: list[dict[str, Any]] = [
        {"box": _rounded(box), "score": round(score, _SCORE_DIGITS)}
        for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
    ]
    if landmarks is not None:
        for face, points in zip(faces, landmarks.tolist(), strict=True):
            face["landmarks"] = list(map(_rounded, points))
    return {"faces": faces} if image_size is None else {"image_size": list(image_size), "faces": faces}


def from_values(values: Any) -> tuple[Any, Any, Any, Any]:
    """Return boxes, scores, landmarks and the image's size as Detections takes them; see Detections.from_json.

    Raises:
        InvalidArgumentError: an entry is missing, or no number; the message names it.
    """
    if not isinstance(values, dict) or not isinstance(values.get("faces"), list):
        raise InvalidArgumentError(f"the faces are {represented(values)}, {_EXPECTED}")
    faces = values["faces"]
    for index, face in enumerate(faces):
        if not isinstance(face, dict) or not {"box", "score"} <= face.keys():
            raise InvalidArgumentError(f"faces[{index}] is {represented(face)}, {_EXPECTED}")
    boxes = [as_floats(face["box"], f"faces[{i}].box", 4) for i, face in enumerate(faces)]
    scores = [as_floats(face["score"], f"faces[{i}].score") for i, face in enumerate(faces)]
    known = [face.get("landmarks") is not None for face in faces]
    if not any(known):
        return boxes, scores, None, values.get("image_size")
    if not all(known):
        raise InvalidArgumentError(f"faces[{known.index(False)}] has no landmarks, but others have")
    landmarks = [as_floats(face["landmarks"], f"faces[{i}].landmarks", 5, 2) for i, face in enumerate(faces)]
    return boxes, scores, landmarks, values.get("image_size")


def _rounded(values: list[float]) -> list[float]:
    return [round(value, _PIXEL_DIGITS) for value in values]
