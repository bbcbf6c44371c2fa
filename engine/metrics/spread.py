"""A measure over many faces, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000


@dataclass(frozen=True)
class Spread:
    """How one measure is distributed over faces.

    Attributes:
        count: faces.
        mean: over the faces.
        mean_low: lower end of the 95 % interval of the mean, from drawing the images anew with replacement: faces of
            one image err alike.
        mean_high: its upper end.
        minimum: the smallest value.
        p5: 5 % of the faces lie below it.
        median: half of them do.
        p95: 95 % of them do.
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

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return asdict(self)


def spread(values: NDArray[np.float64], images: NDArray[np.intp]) -> Spread | None:
    """Describe one value per face; `images` says which image each face is of. None where there are no faces."""
    if not len(values):
        return None
    low, high = _interval_of_mean(values, images)
    quantiles: Sequence[float] = np.quantile(values, (0.0, 0.05, 0.5, 0.95, 1.0)).tolist()
    return Spread(len(values), float(values.mean()), low, high, *quantiles)


def _interval_of_mean(values: NDArray[np.float64], images: NDArray[np.intp]) -> tuple[float, float]:
    _, group = np.unique(images, return_inverse=True)
    counts, sums = np.bincount(group), np.bincount(group, weights=values)
    # Always the same draws: equal inputs give equal reports.
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=_RESAMPLES)
    low, high = np.quantile((times @ sums) / (times @ counts), (0.025, 0.975))
    return float(low), float(high)
