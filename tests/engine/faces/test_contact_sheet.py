"""Faces of real photos, aligned by labelled landmarks: measured, and drawn to be looked at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engine.faces import Detections
from tests.support.data import labelled_landmarks
from tests.support.oracles.align import opencv, umeyama
from tests.support.tolerances import GREY_LEVELS_OPENCV

BUILD = Path(__file__).parents[3] / "build"
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
COLUMNS = 6


def test_faces_of_photos_lie_as_the_template_says() -> None:
    """All of them are on one sheet, build/aligned_faces.png."""
    sheet = []
    for image, landmarks in labelled_landmarks():
        boxes = np.concatenate([landmarks.min(axis=1), landmarks.max(axis=1)], axis=1)
        crops = Detections(boxes, np.ones(len(boxes)), landmarks).align(image)
        for crop, points in zip(crops, landmarks, strict=True):
            matrix = umeyama(points, TEMPLATE)
            there = points @ matrix[:, :2].T + matrix[:, 2]
            # Faces differ, and some are turned aside: each point is nearer to its own place than to any other.
            distances = np.linalg.norm(there[:, None] - TEMPLATE, axis=2)
            np.testing.assert_array_equal(distances.argmin(axis=1), range(5))
            expected = opencv(image, matrix, (112, 112))
            assert np.abs(crop.astype(int) - expected).max() <= GREY_LEVELS_OPENCV
            sheet.append(crop)
    assert len(sheet) == 18
    rows = [np.hstack(sheet[begin : begin + COLUMNS]) for begin in range(0, len(sheet), COLUMNS)]
    BUILD.mkdir(exist_ok=True)
    assert cv2.imwrite(str(BUILD / "aligned_faces.png"), np.vstack(rows))
