"""Draws faces into an image."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

import cv2
import numpy as np

from engine.faces.face import Face
from engine.types import FloatArray, Image, IntArray
from engine.untrusted.limits import MAX_IMAGE_SIDE

BOX_COLOUR = (80, 220, 60)
_FAR = 4.0 * MAX_IMAGE_SIDE
_TEXT = (20, 20, 20)
_CLASSES = (BOX_COLOUR, (60, 60, 230), (230, 120, 40), (60, 210, 240), (200, 60, 200))
_MESH, _SHIFT = (235, 220, 140), 4  # colour; bits of a pixel's fraction
_FEW = 10  # points that are drawn large
# Of five: left eye, right eye, nose, left and right corner of the mouth; left and right in the image.
_POINTS = ((60, 60, 230), (230, 120, 40), (60, 210, 240), (200, 60, 200), (230, 200, 60))


def draw(image: Image, faces: Iterable[Face], triangles: IntArray | None = None) -> None:
    """Draw boxes, landmarks, scores, classes and meshes into a BGR image; line widths follow the image's size.

    Args:
        image: uint8 [H, W, 3], contiguous.
        faces: in pixels of the image.
        triangles: int32 [F, 3] of their meshes; None draws the vertices alone.
    """
    unit = max(1, round(max(image.shape[:2]) / 500))
    drawn = list(faces)
    for face in drawn:
        if face.vertices is not None:
            _draw_mesh(image, face.vertices, triangles, unit)
    for face in drawn:
        colour = _CLASSES[((face.class_id or 1) - 1) % len(_CLASSES)]
        x1, y1 = draw_box(image, face.box, colour, 2 * unit)
        _label(image, f"{_name_of(face)}{face.score:.3f}", (x1, y1), unit, colour)
    for face in drawn:
        if face.landmarks is not None:
            draw_landmarks(image, face.landmarks, 2 * unit if len(face.landmarks) <= _FEW else unit)


def draw_box(image: Image, box: FloatArray, colour: tuple[int, int, int], width: int) -> tuple[int, int]:
    """Draw a box, float32 [4], with lines of a width in pixels; return its upper left corner in whole pixels."""
    x1, y1, x2, y2 = _pixels(box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
    return x1, y1


def draw_landmarks(image: Image, points: FloatArray, radius: int) -> None:
    """Draw landmarks, float32 [L, 2], in five colours in turn."""
    for (x, y), colour in zip(points, cycle(_POINTS), strict=False):
        cv2.circle(image, _pixels((x, y)), radius, colour, -1, cv2.LINE_AA)


def front_edges(vertices: FloatArray, triangles: IntArray) -> IntArray:
    """Return the edges of the triangles that face the camera, each once: int32 [E, 2], numbers of vertices.

    Args:
        vertices: [V, 3], x to the right and y down.
        triangles: [F, 3], counter-clockwise seen from outside, so clockwise where y points down.
    """
    corners = vertices[triangles, :2]
    (ax, ay), (bx, by) = ((corners[:, i] - corners[:, 0]).T for i in (1, 2))
    front = triangles[ax * by - ay * bx < 0]
    return np.unique(np.sort(front[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)


def _draw_mesh(image: Image, vertices: FloatArray, triangles: IntArray | None, width: int) -> None:
    places = np.clip(vertices[:, :2], -_FAR, _FAR)
    if triangles is None:
        for point in places:
            cv2.circle(image, _pixels(point), width, _MESH, -1, cv2.LINE_AA)
        return
    lines = np.rint(places[front_edges(vertices, triangles)] * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(image, list(lines), False, _MESH, width, cv2.LINE_AA, _SHIFT)


def _pixels(values: Iterable[float]) -> list[int]:
    """Round coordinates; those far outside of any image stay in the range that OpenCV draws in."""
    return [round(min(max(float(value), -_FAR), _FAR)) for value in values]


def _name_of(face: Face) -> str:
    if face.class_id is None:
        return ""
    # OpenCV's fonts have no other letters, and print a question mark for each byte of one.
    name = (face.class_name or f"class {face.class_id}").encode("ascii", "replace").decode()
    return f"{name} "


def _label(canvas: Image, text: str, corner: tuple[int, int], unit: int, colour: tuple[int, int, int]) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit
    (width, height), below = cv2.getTextSize(text, font, scale, unit)
    x = min(max(corner[0], 0), max(canvas.shape[1] - width, 0))
    y = max(corner[1], height + below + unit)
    cv2.rectangle(canvas, (x, y - height - below - unit), (x + width, y), colour, -1)
    cv2.putText(canvas, text, (x, y - below), font, scale, _TEXT, unit, cv2.LINE_AA)
