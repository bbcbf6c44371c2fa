"""Pictures in, faces out, row by row."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.errors import InferenceError
from engine.faces import Detections
from engine.rows import detect_rows
from engine.types import Image


def _picture(height: int, width: int) -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes())


def _detect(images: list[Image]) -> list[Detections]:
    """Find a face of the image's size in each."""
    return [Detections([[0, 0, i.shape[1], i.shape[0]]], [0.5], image_size=i.shape[:2]) for i in images]


def test_each_row_gets_its_own_faces_or_error() -> None:
    rows = detect_rows([_picture(3, 5), b"nothing", None, _picture(7, 2), b""], _detect)
    assert [row.image_size if isinstance(row, Detections) else row for row in rows] == [
        (3, 5),
        "the picture, the content of a file, is not a picture that OpenCV can read",
        "there is no picture",
        (7, 2),
        "the picture, the content of a file, is not a picture that OpenCV can read",
    ]


def test_without_readable_pictures_nothing_is_detected() -> None:
    def never(images: list[Image]) -> list[Detections]:
        raise AssertionError(images)

    assert detect_rows([], never) == []
    assert all(isinstance(row, str) for row in detect_rows([b"x", None], never))


def test_a_failing_engine_is_no_error_of_a_row() -> None:
    def fail(images: list[Image]) -> list[Detections]:
        raise InferenceError("lost")

    with pytest.raises(InferenceError, match="lost"):
        detect_rows([_picture(2, 2)], fail)
