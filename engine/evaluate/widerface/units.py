"""Predictions in other units than WIDER FACE's, which would be evaluated as no faces found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.evaluate.widerface.files import GroundTruth
from engine.evaluate.widerface.protocol import Floats, evaluate

_LARGEST_FRACTION = 1.5  # a box may reach beyond its image


def hint_at_units(truth: GroundTruth, predictions: Sequence[Floats]) -> str | None:
    """Return what the predicted boxes seem to be, if not left, top, width and height in pixels; else None.

    Args:
        truth: see evaluate.
        predictions: see evaluate.
    """
    boxes = np.concatenate([np.zeros((0, 4)), *(image[:, :4] for image in predictions)])
    if not len(boxes):
        return None
    if np.abs(boxes).max() <= _LARGEST_FRACTION:
        return (
            "all predicted boxes lie in 0 to 1, expected left, top, width and height in pixels: multiply them by the "
            "images' widths and heights"
        )
    if (boxes[:, 2:] >= boxes[:, :2]).all():
        taken = [_from_corners(image) for image in predictions]
        found, as_corners = (
            sum(curve.average_precision for curve in evaluate(truth, given).values()) for given in (predictions, taken)
        )
        if as_corners > found:
            return (
                "the predicted boxes seem to be corners (left, top, right, bottom), which fit the faces better: "
                "expected left, top, width and height"
            )
    return None


def _from_corners(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2], boxes[:, 4:]], axis=1)
