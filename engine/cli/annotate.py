"""Draws faces on a picture."""

from __future__ import annotations

import cv2
import numpy as np

from engine.types import Detections, Image

_BOX = (80, 220, 60)
_TEXT = (20, 20, 20)
# Left eye, right eye, nose, left and right corner of the mouth; left and right in the image.
_POINTS = ((60, 60, 230), (230, 120, 40), (60, 210, 240), (200, 60, 200), (230, 200, 60))


def annotate(image: Image, faces: Detections) -> Image:
    """Return a copy of a BGR image with boxes, landmarks and scores; line widths follow the image's size."""
    canvas = image.copy()
    unit = max(1, round(max(image.shape[:2]) / 500))
    for i in range(len(faces)):
        x1, y1, x2, y2 = (round(float(v)) for v in faces.boxes[i])
        cv2.rectangle(canvas, (x1, y1), (x2, y2), _BOX, 2 * unit, cv2.LINE_AA)
        _label(canvas, f"{float(faces.scores[i]):.3f}", (x1, y1), unit)
        if faces.landmarks is not None:
            for (x, y), colour in zip(faces.landmarks[i], _POINTS, strict=True):
                cv2.circle(canvas, (round(float(x)), round(float(y))), 2 * unit, colour, -1, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def _label(canvas: Image, text: str, corner: tuple[int, int], unit: int) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit
    (width, height), below = cv2.getTextSize(text, font, scale, unit)
    x = min(max(corner[0], 0), max(canvas.shape[1] - width, 0))
    y = max(corner[1], height + below + unit)
    cv2.rectangle(canvas, (x, y - height - below - unit), (x + width, y), _BOX, -1)
    cv2.putText(canvas, text, (x, y - below), font, scale, _TEXT, unit, cv2.LINE_AA)
