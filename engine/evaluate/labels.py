"""Known faces, in JSON lines as `retinaface-trt detect` prints them: one object an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from engine.errors import InvalidArgumentError
from engine.types import FloatArray


def read_labels(path: Path) -> dict[str, FloatArray]:
    """Return the boxes of each image, float32 [N, 4], by the image's name.

    A line is {"image": NAME, "faces": [{"box": [x1, y1, x2, y2]}, ...]}; other keys are ignored, and so are blank
    lines.

    Raises:
        InvalidArgumentError: the file cannot be read, a line is something else, or an image is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"labels {path} cannot be read: {error}") from error
    labels: dict[str, FloatArray] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, boxes = _parse(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidArgumentError(
                f'labels {path}, line {number}: expected {{"image": NAME, "faces": [{{"box": [x1, y1, x2, y2]}}, '
                f"...]}} with x1 < x2 and y1 < y2 ({type(error).__name__}: {error})"
            ) from error
        if name in labels:
            raise InvalidArgumentError(f"labels {path}, line {number}: {name} is there twice")
        labels[name] = boxes
    if not labels:
        raise InvalidArgumentError(f"labels {path} has no lines")
    return labels


def _parse(entry: Any) -> tuple[str, FloatArray]:
    name = entry["image"]
    boxes = np.array([face["box"] for face in entry["faces"]], np.float32).reshape(-1, 4)
    if not isinstance(name, str) or len(boxes) != len(entry["faces"]):
        raise ValueError("a name or a box is of another kind")
    if not np.isfinite(boxes).all() or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError("a box is empty")
    return name, boxes


def label_line(name: str, boxes: Sequence[Sequence[float]] | FloatArray) -> str:
    """Return the line of one image, without its end."""
    return json.dumps({"image": name, "faces": [{"box": [round(float(v), 4) for v in box]} for box in boxes]})


def boxes_of(labels: Mapping[str, FloatArray], names: Sequence[str]) -> list[FloatArray | None]:
    """Return the boxes of each image, None where it has no line.

    A label belongs to the image of its name, or else of its file name where only one label has that: labels may have
    been made in another folder.

    Raises:
        InvalidArgumentError: two labels have the file name of an image, and none its name.
    """
    by_file: dict[str, list[str]] = {}
    for name in labels:
        by_file.setdefault(PurePosixPath(name).name, []).append(name)
    found: list[FloatArray | None] = []
    for name in names:
        alike = [name] if name in labels else by_file.get(PurePosixPath(name).name, [])
        if len(alike) > 1:
            raise InvalidArgumentError(f"labels: {' and '.join(alike[:2])} could both be {name}")
        found.append(labels[alike[0]] if alike else None)
    return found
