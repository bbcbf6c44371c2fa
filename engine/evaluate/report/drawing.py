"""Draws the faces of two engines over a crop of a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.faces import Detections
from engine.types import Image

REFERENCE_COLOUR = (80, 200, 60)
CANDIDATE_COLOUR = (200, 60, 230)
_SIDE = 320  # of a drawing, in pixels
_LEAST_SCORE = 0.1  # faces below it would only hide the others
_CONTEXT = 1.0  # margin of the crop on each side, in sizes of the face


def draw_difference(image: Image, box: NDArray[np.float64], reference: Detections, candidate: Detections) -> Image:
    """Return a square crop around a box, scaled to a fixed size, with both engines' faces.

    Boxes are drawn after scaling, so that lines are thin and small shifts are visible. The reference's score stands
    above its box, the candidate's below.
    """
    centre, face = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    side = max(min(face * (1 + 2 * _CONTEXT), max(image.shape[:2])), face * 1.2, 16.0)
    origin = centre - side / 2
    scale = _SIDE / side
    # A picture's pixel (x, y) has its centre at (x + 0.5, y + 0.5).
    shift = (0.5 - origin) * scale - 0.5
    transform = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    # Low-pass filter before shrinking, against aliasing.
    source = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 1 else image
    warped = cv2.warpAffine(source, transform, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderValue=(90, 90, 90))
    canvas = np.asarray(warped, np.uint8)
    for faces, colour, below in ((reference, REFERENCE_COLOUR, False), (candidate, CANDIDATE_COLOUR, True)):
        for i in np.flatnonzero(faces.scores >= _LEAST_SCORE):
            corners = np.rint((faces.boxes[i].reshape(2, 2) - origin) * scale).astype(int)
            (x1, y1), (x2, y2) = corners.tolist()
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)
            _write(canvas, f"{faces.scores[i]:.3f}", (x1, y2 + 12) if below else (x1, y1 - 4), colour)
            for x, y in [] if faces.landmarks is None else (faces.landmarks[i] - origin) * scale:
                cv2.circle(canvas, (round(float(x)), round(float(y))), 2, colour, -1, cv2.LINE_AA)
    return canvas


def _write(canvas: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    # A dark outline keeps the text legible on any picture.
    for shade, thickness in (((20, 20, 20), 3), (colour, 1)):
        cv2.putText(canvas, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, shade, thickness, cv2.LINE_AA)
