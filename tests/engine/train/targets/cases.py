"""Random labels and heads."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from engine.config.heads import ValueHead
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.train.targets.network import first_stage_kinds
from tests.support.oracles.training import Image

PLAIN = preset("mobilenet0.25")
CASCADE = replace(PLAIN, name="cascade", cascade=True)
CLASSES = replace(PLAIN, name="classes", classes=("a", "b", "c"))
POINTS = replace(PLAIN, name="points", mirrored_points=(2, 1, 0))
VALUES = replace(PLAIN, name="values", values=(ValueHead("age", 1), ValueHead("pose", 3)))
PLACES = replace(PLAIN, name="places", values=(ValueHead("age", 1), ValueHead("ears", 4, "points")))
ALL = replace(PLACES, name="all", cascade=True, classes=("a", "b"), mirrored_points=(2, 1, 0))
SIGMOID = replace(CLASSES, name="sigmoid", class_coding="sigmoid")


class Batch(NamedTuple):
    """What the loss reads of a batch."""

    boxes: list[torch.Tensor]
    landmarks: list[torch.Tensor]
    ignored: list[torch.Tensor]
    classes: list[torch.Tensor]
    values: list[torch.Tensor]


def random_image(rng: np.random.Generator, count: int, side: int, config: RetinaFaceConfig = PLAIN) -> Image:
    """Faces with corners on half pixels, so that equal overlaps are equal in every arithmetic; some lack landmarks."""
    corner = rng.integers(-8, 2 * side, (count, 2)) / 2
    boxes = np.concatenate([corner, corner + rng.integers(4, side + 8, (count, 2)) / 2], axis=1)
    landmarks = corner[:, None] + rng.random((count, config.num_points, 2)) * side / 4
    landmarks[rng.random(count) < 0.3] = np.nan
    ignored = rng.random(count) < 0.25
    classes = rng.integers(1, config.num_classes, count)
    values = rng.normal(size=(count, sum(head.size for head in config.values))).astype(np.float32)
    begin = 0
    for head in config.values:
        if head.is_points:
            places = corner[:, None] + rng.random((count, head.size // 2, 2)) * side / 4
            values[:, begin : begin + head.size] = places.reshape(count, head.size)
        begin += head.size
    values[rng.random(values.shape) < 0.1] = np.nan
    points = landmarks.astype(np.float32).astype(np.float64)
    return Image(boxes, points, ignored, classes, values.astype(np.float64))


def batch_of(images: list[Image]) -> Batch:
    """Labels as the loss takes them."""
    return Batch(
        [torch.tensor(i.boxes, dtype=torch.float32).reshape(-1, 4) for i in images],
        [torch.tensor(i.landmarks, dtype=torch.float32).reshape(-1, *i.landmarks.shape[1:]) for i in images],
        [torch.tensor(i.ignored, dtype=torch.bool) for i in images],
        [torch.tensor(i.classes, dtype=torch.int64) for i in images],
        [torch.tensor(i.values, dtype=torch.float32).reshape(i.values.shape) for i in images],
    )


def random_heads(
    rng: np.random.Generator,
    config: RetinaFaceConfig,
    images: int,
    size: tuple[int, int],
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    """Heads of a batch, those of a cascade's first stage behind the others, with gradients."""
    shapes = [(config.head_values(kind) * len(v.anchors), v) for v in config.levels for kind in config.head_kinds()]
    shapes += [
        (config.head_values(kind) * len(v.anchors), v) for v in config.levels for kind in first_stage_kinds(config)
    ]
    return [
        torch.tensor(
            rng.normal(size=(images, channels, *config.map_size(level, *size))), dtype=dtype, requires_grad=True
        )
        for channels, level in shapes
    ]
