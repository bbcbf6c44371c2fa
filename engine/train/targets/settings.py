"""The settings of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import InvalidArgumentError

Overlaps = tuple[float, float]


@dataclass(frozen=True)
class LossSettings:
    """What decides the targets, and what weighs the parts of the loss. The defaults are those of the sources.

    The paper, arXiv 1905.00641: IoU from .5 is a face, below .3 background; three negatives for each positive; weights
    .25 and .1. A cascade's are those of its public reproduction (barisbatuhan/retinaface, configs.jl).

    PUBLISHED_LOSSES has these by name, and those of Pytorch_Retinaface.

    Attributes:
        overlaps: IoU from which an anchor is positive, and below which it is background; between them it is ignored.
        first_overlaps: of a cascade's first stage, with the anchors.
        second_overlaps: of a cascade's second stage, with the boxes of the first one.
        least_iou: a face whose best anchor overlaps less has no anchor for certain; at 0 any overlap will do.
        negatives_per_positive: negatives that count for each positive of an image, the hardest ones. An image without
            positives has as many as one with one.
        box_weight: of the boxes' loss in the total; classes weigh 1.
        landmark_weight: of the landmarks' loss in the total.
        alpha: of the focal loss: weight of positives, negatives have the rest to 1 (arXiv 1708.02002).
        gamma: of the focal loss: power of what the right class lacks to probability 1.
    """

    overlaps: Overlaps = (0.5, 0.3)
    first_overlaps: Overlaps = (0.7, 0.3)
    second_overlaps: Overlaps = (0.5, 0.4)
    least_iou: float = 0.0
    negatives_per_positive: float = 3.0
    box_weight: float = 0.25
    landmark_weight: float = 0.1
    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for settings that make no loss."""
        for name in ("overlaps", "first_overlaps", "second_overlaps"):
            pair = getattr(self, name)
            ok = len(pair) == 2 and 0 < pair[1] <= pair[0] <= 1
            _require(ok, name, pair, "two numbers (above, below) with 0 < below <= above <= 1")
        _require(0 <= self.least_iou < 1, "least_iou", self.least_iou, "0 <= IoU < 1")
        for name in ("negatives_per_positive", "box_weight", "landmark_weight", "gamma"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "a finite number from 0")
        _require(0 < self.alpha < 1, "alpha", self.alpha, "a number between 0 and 1")


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"loss settings: {name} is {given!r:.200}, expected {expected}")


PAPER, UPSTREAM = "paper", "upstream"
PUBLISHED_LOSSES = {
    PAPER: LossSettings(),
    UPSTREAM: LossSettings(
        overlaps=(0.35, 0.35), negatives_per_positive=7, box_weight=2.0, landmark_weight=1.0, least_iou=0.2
    ),
}
"""Upstream's are those that Pytorch_Retinaface's public weights were trained with (train.py, multibox_loss.py)."""
