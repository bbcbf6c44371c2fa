"""Draws faces into an image."""

from __future__ import annotations

from collections.abc import Iterable

import cv2

from engine.types import FloatArray, Image
from engine.untrusted.limits import MAX_IMAGE_SIDE

BOX_COLOUR = (80, 220, 60)
_FAR = 4.0 * MAX_IMAGE_SIDE
_TEXT = (20, 20, 20)
# Left eye, right eye, nose, left and right corner of the mouth; left and right in the image.
_POINTS = ((60, 60, 230), (230, 120, 40), (60, 210, 240), (200, 60, 200), (230, 200, 60))


def draw(image: Image, boxes: FloatArray, scores: FloatArray, landmarks: FloatArray | None) -> None:
    """Draw boxes, landmarks and scores into a BGR image; line widths follow the image's size.

    Args:
        image: uint8 [H, W, 3], contiguous.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the image.
        scores: float32 [N].
        landmarks: float32 [N, 5, 2], or None.
    """
    unit = max(1, round(max(image.shape[:2]) / 500))
    for box, score in zip(boxes, scores, strict=True):
        x1, y1 = draw_box(image, box, BOX_COLOUR, 2 * unit)
        _label(image, f"{float(score):.3f}", (x1, y1), unit)
    for points in () if landmarks is None else landmarks:
        draw_landmarks(image, points, 2 * unit)


def draw_box(image: Image, box: FloatArray, colour: tuple[int, int, int], width: int) -> tuple[int, int]:
    """Draw a box, float32 [4], with lines of a width in pixels; return its upper left corner in whole pixels."""
    x1, y1, x2, y2 = _pixels(box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
    return x1, y1


def draw_landmarks(image: Image, points: FloatArray, radius: int) -> None:
    """Draw five landmarks, float32 [5, 2], in a colour each."""
    for (x, y), colour in zip(points, _POINTS, strict=True):
        cv2.circle(image, _pixels((x, y)), radius, colour, -1, cv2.LINE_AA)


def _pixels(values: Iterable[float]) -> list[int]:
    """Round coordinates; those far outside of any image stay in the range that OpenCV draws in."""
    return [round(min(max(float(value), -_FAR), _FAR)) for value in values]


def _label(canvas: Image, text: str, corner: tuple[int, int], unit: int) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit
    (width, height), below = cv2.getTextSize(text, font, scale, unit)
    x = min(max(corner[0], 0), max(canvas.shape[1] - width, 0))
    y = max(corner[1], height + below + unit)
    cv2.rectangle(canvas, (x, y - height - below - unit), (x + width, y), BOX_COLOUR, -1)
    cv2.putText(canvas, text, (x, y - below), font, scale, _TEXT, unit, cv2.LINE_AA)
