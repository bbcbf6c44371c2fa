"""Inputs of the GPU session's tests on the doubles, and what they are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.faces import Detections
from engine.sidecar import EngineFiles
from engine.types import Image
from tests.support.data import astronaut


class OnDevice:
    """An image in the double's device memory."""

    def __init__(self, image: Image, more: dict[str, Any] | None = None) -> None:
        self.image, self.more = np.ascontiguousarray(image), more or {"stream": 1}
        self.shape = image.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.image.ctypes.data, False)
        return {"shape": self.shape, "typestr": "|u1", "data": data, "version": 3, **self.more}


def random_batch(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-100, 130, (n, 3, 320, 320)).astype(np.float32)


def five_photos() -> list[Image]:
    photo = astronaut()
    return [photo, photo[:300, 50:], photo[::2, ::2], photo[:, ::-1], photo[30:, 100:400]]


def assert_same(a: Detections, b: Detections) -> None:
    assert np.array_equal(a.boxes, b.boxes)
    assert np.array_equal(a.scores, b.scores)
    assert a.landmarks is not None
    assert b.landmarks is not None
    assert np.array_equal(a.landmarks, b.landmarks)


def output_bytes(files: EngineFiles, n: int) -> int:
    """Four outputs, each at a multiple of 256 bytes."""
    m = files.sidecar.thresholds.max_detections
    return sum(-(-n * count * 4 // 256) * 256 for count in (1, 4 * m, m, 10 * m))
