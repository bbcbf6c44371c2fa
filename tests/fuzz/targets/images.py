"""Pictures in every format that OpenCV reads, as a calibration and an evaluation read them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, cast

import cv2
import numpy as np

from engine.config.presets import preset
from engine.evaluate.widerface.run import SCALE_RULES, check_input_range
from engine.inputs import as_image
from engine.precision.calibrate.images import resized
from engine.runtime.letterbox import Letterbox
from tests.fuzz.mutate.content import mutated
from tests.fuzz.mutate.pictures import JPEG_START, PNG_START, mutated_jpeg, mutated_png
from tests.fuzz.target import Files, FileTarget

_NAME = "picture"
FORMATS: dict[str, list[list[int]]] = {
    ".jpg": [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]],
    ".png": [[], [cv2.IMWRITE_PNG_BILEVEL, 1]],
    ".bmp": [[]],
    ".tiff": [[], [cv2.IMWRITE_TIFF_COMPRESSION, 1], [cv2.IMWRITE_TIFF_COMPRESSION, 8]],
    ".webp": [[], [cv2.IMWRITE_WEBP_QUALITY, 101]],
    ".ppm": [[]],
    ".pgm": [[]],
    ".pam": [[]],
    ".ras": [[]],
    ".hdr": [[]],
    ".pfm": [[]],
    ".gif": [[]],
    ".jp2": [[]],
    ".avif": [[]],
}
"""Formats, and options to encode each with."""


class Images(FileTarget):
    """Pictures."""

    def __init__(self, folder: Path) -> None:
        """Encode small pictures in every format that this OpenCV writes."""
        super().__init__(folder)
        self._path = folder / _NAME
        self.named = (str(self._path),)
        self._pictures = [
            content for kind, options in FORMATS.items() for option in options for content in encoded(kind, option)
        ]
        self._letterbox = Letterbox((64, 96), preset("mobilenet0.25"), False)

    def make(self, random: Random) -> Files:
        """Return a changed picture."""
        content = random.choice(self._pictures)
        if random.random() < 0.7 and content.startswith(PNG_START):
            content = mutated_png(content, random)
        elif random.random() < 0.7 and content.startswith(JPEG_START):
            content = mutated_jpeg(content, random)
        elif random.random() < 0.5:  # where the sizes are
            content = mutated(content[:64], random) + content[64:]
        else:
            content = mutated(content, random, self._pictures)
        return {_NAME: content}

    def read(self, made: Files) -> None:
        """Read the picture at its size, or every fourth one at an eighth of it."""
        if len(made[_NAME]) % 4:
            resized(as_image(self._path, "the picture"), self._letterbox)
        else:
            check_input_range(cast(Any, _Detector()), SCALE_RULES["original"], [self._path])


class _Detector:
    """The part of a detector that is asked for the size of its input."""

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return a size that holds the picture."""
        return height, width


def encoded(kind: str, options: list[int]) -> list[bytes]:
    """Return two small pictures in a format: coloured and, where that is possible, grey."""
    random = np.random.default_rng(7)
    found = []
    for shape in ((13, 21, 3), (9, 16)):
        image = random.integers(0, 256, shape, np.uint8)
        try:
            written, content = cv2.imencode(
                kind, image.astype(np.float32) if kind in (".hdr", ".pfm") else image, options
            )
        except cv2.error:
            continue
        if written:
            found.append(content.tobytes())
    return found
