"""The change of average precision from one engine to another, and how much of it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.faces import Detections
from engine.metrics.average_precision import Boxes, Ranked, rank, size_bands
from engine.metrics.matching import MATCH_IOU

_RESAMPLES = 1000


@dataclass(frozen=True)
class PrecisionChange:
    """Average precision of a candidate minus that of the reference.

    Attributes:
        mean: on the images as they are.
        low: lower end of its 95 % interval by the paired bootstrap: images are resampled, and both engines are judged
            on the same ones, so that what makes an image hard for both cancels.
        high: its upper end.
    """

    mean: float
    low: float
    high: float


def precision_changes(
    truth: Sequence[Boxes],
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    match_iou: float = MATCH_IOU,
) -> tuple[PrecisionChange | None, tuple[PrecisionChange | None, ...]]:
    """Return the change over all labelled faces, and for each of SIZE_BINS; None without labelled faces.

    Args:
        truth: labelled faces of each image, [N, 4].
        reference: faces of the same images, down to low scores.
        candidate: faces of the same images, down to low scores.
        match_iou: smallest IoU of a match.

    Raises:
        InvalidArgumentError: the lists differ in length, or hold numbers that are not finite.
    """
    every, *by_size = (
        _change(*(rank(truth, found, match_iou=match_iou, sizes=band) for found in (reference, candidate)))
        for band in (None, *size_bands())
    )
    return every, tuple(by_size)


def _change(reference: Ranked, candidate: Ranked) -> PrecisionChange | None:
    count = len(reference.wanted)
    # A fixed seed, so that equal inputs give equal reports.
    rng = np.random.default_rng(0)
    draws = (rng.multinomial(count, np.full(count, 1 / count)) for _ in range(_RESAMPLES))
    changes = []
    for times in (None, *draws):
        before, after = reference.area(times), candidate.area(times)
        if before is not None and after is not None:
            changes.append(after - before)
        elif times is None:
            return None
    low, high = np.quantile(changes[1:] or changes, (0.025, 0.975))
    return PrecisionChange(changes[0], float(low), float(high))
