"""Summary statistics of a measure over many faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000


@dataclass(frozen=True)
class Spread:
    """The distribution of one measure over faces.

    Attributes:
        count: number of faces.
        mean: over the faces.
        mean_low: lower end of the 95 % bootstrap interval of the mean. Images are resampled, not faces, because errors
            within an image are correlated.
        mean_high: its upper end.
        minimum: the smallest value.
        p5: the 5 % quantile.
        median: the 50 % quantile.
        p95: the 95 % quantile.
        maximum: the largest value.
    """

    count: int
    mean: float
    mean_low: float
    mean_high: float
    minimum: float
    p5: float
    median: float
    p95: float
    maximum: float


def spread(values: NDArray[np.float64], images: NDArray[np.intp]) -> Spread | None:
    """Summarise one value per face, given the index of each face's image; None without faces."""
    if not len(values):
        return None
    low, high = _interval_of_mean(values, images)
    quantiles: Sequence[float] = np.quantile(values, (0.0, 0.05, 0.5, 0.95, 1.0)).tolist()
    return Spread(len(values), float(values.mean()), low, high, *quantiles)


def _interval_of_mean(values: NDArray[np.float64], images: NDArray[np.intp]) -> tuple[float, float]:
    _, group = np.unique(images, return_inverse=True)
    counts, sums = np.bincount(group), np.bincount(group, weights=values)
    # A fixed seed, so that equal inputs give equal reports.
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=_RESAMPLES)
    low, high = np.quantile((times @ sums) / (times @ counts), (0.025, 0.975))
    return float(low), float(high)
