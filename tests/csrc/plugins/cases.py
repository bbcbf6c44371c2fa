"""Attributes and inputs of RetinaFaceDecode and RetinaFaceNMS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from engine import ops

from .driver import Array

DTYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

DECODE = "RetinaFaceDecode"
NMS = "RetinaFaceNMS"

DECODE_ATTRIBUTES: dict[str, Any] = {
    "strides": [8, 16, 32],
    "anchor_sizes": [16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
    "anchor_heights": [16.0, 30.0, 70.0, 128.0, 256.0, 500.0],
    "num_anchors": [2, 2, 2],
    "variances": [0.1, 0.2],
    "score_threshold": 0.5,
    "top_k": 50,
    "has_landmarks": 1,
    "cascade": 0,
}
NMS_ATTRIBUTES: dict[str, Any] = {"iou_threshold": 0.4, "max_detections": 20, "voting": 0, "has_landmarks": 1}

# (plugin, attribute to change, its value or None to leave it out, text of the message)
REFUSED = [
    (DECODE, "strides", None, "'strides' is missing"),
    (DECODE, "strides", [], "'strides': expected 1 to 8 values, got 0"),
    (DECODE, "strides", [8] * 9, "'strides': expected 1 to 8 values, got 9"),
    (DECODE, "strides", [8, 0, 32], "'strides': expected finite values above 0, got 0"),
    (DECODE, "strides", [8.0, 16.0, 32.0], "'strides': expected INT32, got FLOAT32"),
    (DECODE, "anchor_sizes", None, "'anchor_sizes' is missing"),
    (DECODE, "anchor_sizes", [16.0] * 5, "'anchor_sizes': expected 6 values, the sum of 'num_anchors', got 5"),
    (DECODE, "anchor_sizes", [16.0] * 5 + [-1.0], "'anchor_sizes': expected finite values above 0, got -1"),
    (DECODE, "anchor_sizes", [16.0] * 5 + [float("nan")], "'anchor_sizes': expected finite values above 0, got nan"),
    (DECODE, "anchor_sizes", [16] * 6, "'anchor_sizes': expected FLOAT32, got INT32"),
    (
        DECODE,
        "anchor_heights",
        [16.0] * 5,
        "'anchor_heights': expected 6 values, as many as in 'anchor_sizes'",
    ),
    (DECODE, "anchor_heights", [16.0] * 5 + [0.0], "'anchor_heights': expected finite values above 0, got 0"),
    (DECODE, "num_anchors", None, "'num_anchors' is missing"),
    (DECODE, "num_anchors", [2, 2], "'num_anchors': expected 3 values, as many as in 'strides', got 2"),
    (DECODE, "num_anchors", [2, 0, 4], "'num_anchors': expected 1 to 8 anchors per level, got 0"),
    (DECODE, "num_anchors", [2, 2, 9], "'num_anchors': expected 1 to 8 anchors per level, got 9"),
    (DECODE, "variances", None, "'variances' is missing"),
    (DECODE, "variances", [0.1], "'variances': expected 2 values, got 1"),
    (DECODE, "variances", [0.1, float("inf")], "'variances': expected finite values above 0, got inf"),
    (DECODE, "score_threshold", None, "'score_threshold' is missing"),
    (DECODE, "score_threshold", 1.5, "score_threshold is 1.5"),
    (DECODE, "score_threshold", float("nan"), "score_threshold is nan"),
    (DECODE, "score_threshold", [0.5, 0.5], "'score_threshold': expected one value, got 2"),
    (DECODE, "score_threshold", 1, "'score_threshold': expected FLOAT32, got INT32"),
    (DECODE, "top_k", None, "'top_k' is missing"),
    (DECODE, "top_k", 0, "top_k is 0"),
    (DECODE, "top_k", 5001, "top_k is 5001"),
    (DECODE, "has_landmarks", 2, "'has_landmarks': expected 0 or 1, got 2"),
    (DECODE, "cascade", -1, "'cascade': expected 0 or 1, got -1"),
    (NMS, "iou_threshold", None, "'iou_threshold' is missing"),
    (NMS, "iou_threshold", -0.1, "iou_threshold is -0.1"),
    (NMS, "iou_threshold", float("nan"), "iou_threshold is nan"),
    (NMS, "max_detections", None, "'max_detections' is missing"),
    (NMS, "max_detections", 0, "max_detections is 0"),
    (NMS, "max_detections", 5001, "max_detections is 5001"),
    (NMS, "max_detections", 100.0, "'max_detections': expected INT32, got FLOAT32"),
    (NMS, "voting", 2, "'voting': expected 0 or 1, got 2"),
    (NMS, "has_landmarks", -1, "'has_landmarks': expected 0 or 1, got -1"),
]


def changed(plugin: str, attribute: str, value: Any) -> dict[str, Any]:
    """Return the plugin's attributes with one of them changed, or left out if `value` is None."""
    attributes = {**(DECODE_ATTRIBUTES if plugin == DECODE else NMS_ATTRIBUTES), attribute: value}
    return {name: v for name, v in attributes.items() if v is not None}


@dataclass
class Heads:
    """The levels of a model, for one input size."""

    batch: int
    height: int
    width: int
    strides: tuple[int, ...] = (8, 16, 32)
    num_anchors: tuple[int, ...] = (2, 2, 2)
    landmarks: bool = True
    cascade: bool = False
    square: bool = True
    dtype: str = "float32"
    score_threshold: float = 0.5
    top_k: int = 50

    @property
    def anchor_sizes(self) -> list[list[float]]:
        """Anchor sizes per level, all different."""
        return [[2.0 * s * (1.5**a) for a in range(n)] for s, n in zip(self.strides, self.num_anchors, strict=True)]

    @property
    def anchors(self) -> list[list[tuple[float, float]]]:
        """Width and height of each anchor."""
        return [[(size, size if self.square else 1.25 * size) for size in level] for level in self.anchor_sizes]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of RetinaFaceDecode."""
        return {
            "strides": list(self.strides),
            "anchor_sizes": [size for level in self.anchor_sizes for size in level],
            **({} if self.square else {"anchor_heights": [height for level in self.anchors for _, height in level]}),
            "num_anchors": list(self.num_anchors),
            "variances": [0.1, 0.2],
            "score_threshold": self.score_threshold,
            "top_k": self.top_k,
            "has_landmarks": int(self.landmarks),
            "cascade": int(self.cascade),
        }

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels per anchor of the heads of a level."""
        return (2, 4, *((10,) if self.landmarks else ()), *((4,) if self.cascade else ()))

    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Shapes of the inputs."""
        return [
            (self.batch, width * anchors, -(-self.height // stride), -(-self.width // stride))
            for stride, anchors in zip(self.strides, self.num_anchors, strict=True)
            for width in self.widths
        ]

    def random(self, rng: np.random.Generator) -> list[Array]:
        """Return inputs in which about one anchor in six passes a threshold of 0.5."""
        heads = [rng.normal(size=shape) for shape in self.shapes()]
        for logits in heads[:: len(self.widths)]:
            logits[:, 1::2] -= 1.4
        return [head.astype(DTYPES[self.dtype]) for head in heads]

    def expected(self, inputs: list[Array]) -> list[Array]:
        """Return the CPU operator's results, which must be bitwise equal."""
        wide = [head.astype(np.float32) for head in inputs]
        levels: list[tuple[Array | None, ...]] = []
        for i in range(0, len(wide), len(self.widths)):
            logits, box_deltas, *others = wide[i : i + len(self.widths)]
            landmark_deltas = others.pop(0) if self.landmarks else None
            levels.append((logits, box_deltas, landmark_deltas, *others))
        result = ops.decode(
            levels,
            strides=self.strides,
            anchor_sizes=self.anchors,
            score_threshold=self.score_threshold,
            top_k=self.top_k,
        )
        return [array for array in result if array is not None]


def random_candidates(rng: np.random.Generator, batch: int, slots: int, landmarks: bool) -> list[Array]:
    """Return inputs of RetinaFaceNMS. Boxes often overlap; images use a third, two thirds or all of their slots."""
    corners = rng.uniform(0, 100, size=(batch, slots, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 60, size=corners.shape)], axis=2)
    count = np.array([slots * (i % 3 + 1) // 3 for i in range(batch)])
    arrays = [boxes, rng.uniform(size=(batch, slots)), rng.uniform(0, 100, size=(batch, slots, 10))]
    return [a.astype(np.float32) for a in arrays[: 3 if landmarks else 2]] + [count.astype(np.int32)]


def expected_detections(inputs: list[Array], attributes: dict[str, Any]) -> list[Array]:
    """Return the CPU operator's results, which must be bitwise equal."""
    boxes, scores, *landmarks, count = inputs
    result = ops.nms(
        boxes,
        scores,
        landmarks[0] if landmarks else None,
        count,
        iou_threshold=attributes["iou_threshold"],
        max_detections=attributes["max_detections"],
        voting=bool(attributes["voting"]),
    )
    return [a for a in (result.num_detections, result.boxes, result.scores, result.payload) if a is not None]
