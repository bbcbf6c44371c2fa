"""Labelled faces, in the JSON lines that `retinaface-trt detect` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EvaluationError

Labels = dict[str, NDArray[np.float64]]


def read_labels(path: Path) -> Labels:
    """Read {"image": name, "faces": [{"box": [x1, y1, x2, y2]}, ...]}, an image a line; other keys are ignored.

    Returns:
        Per image, in the file's order, float64 [N, 4] in pixels.

    Raises:
        EvaluationError: the file cannot be read, is empty, or a line is malformed; the message names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"labels {path} cannot be read: {error}") from error
    labels: Labels = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                name, boxes = _parse(line)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise EvaluationError(
                    f'{path}, line {number}: expected {{"image": NAME, "faces": [{{"box": [x1, y1, x2, y2]}}, ...]}}, '
                    f"got {line[:80]!r} ({error})"
                ) from error
            if name in labels:
                raise EvaluationError(f"{path}, line {number}: {name} was labelled before")
            labels[name] = boxes
    if not labels:
        raise EvaluationError(f"labels {path} is empty, expected an image a line")
    return labels


def _parse(line: str) -> tuple[str, NDArray[np.float64]]:
    entry: dict[str, Any] = json.loads(line)
    name, faces = entry["image"], entry["faces"]
    if not isinstance(name, str) or not isinstance(faces, list):
        raise TypeError("image is a text, faces a list")
    if not faces:
        return name, np.empty((0, 4))
    boxes = np.array([face["box"] for face in faces], np.float64)
    if boxes.shape != (len(faces), 4) or not np.isfinite(boxes).all() or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError("a box has four finite numbers, x1 < x2 and y1 < y2")
    return name, boxes
