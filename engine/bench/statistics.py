"""Latencies in a few numbers, and how far two runs differ beyond their noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MEASURES = ("mean", *QUANTILES, "max")
_RESAMPLES = 1000


@dataclass(frozen=True)
class Summary:
    """How long something took, in milliseconds.

    Attributes:
        count: of values.
        values: by the name in MEASURES.
    """

    count: int
    values: dict[str, float]

    def __getitem__(self, measure: str) -> float:
        """Return one measure."""
        return self.values[measure]

    def is_resolved(self, measure: str) -> bool:
        """Whether at least one value is expected beyond the quantile; with fewer it is but the largest value."""
        return measure not in QUANTILES or self.count * (1 - QUANTILES[measure]) >= 1

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {"count": self.count, **self.values}


def summarise(seconds: Sequence[float] | Values) -> Summary | None:
    """Describe durations; None where there are none."""
    values = np.asarray(seconds, np.float64) * 1e3
    if not len(values):
        return None
    quantiles = np.quantile(values, list(QUANTILES.values())).tolist()
    measures = (float(values.mean()), *quantiles, float(values.max()))
    return Summary(len(values), dict(zip(MEASURES, measures, strict=True)))


def ratio_interval(
    above: Values, below: Values, statistic: Callable[[Values], Values], seed: int = 0
) -> tuple[Values, Values]:
    """Return the 95 % intervals of statistic(above) / statistic(below), lower ends and upper ends.

    Neighbouring requests share a queue and the machine's moods, so blocks of them, about as many as they are long, are
    drawn anew with replacement, not single requests: those would promise more than was measured.

    Args:
        above: series in the order of time.
        below: likewise.
        statistic: maps a series [N] to numbers [K].
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    # A draw of slices in which nothing was answered has no ratio: it counts as a very large one.
    ratios = _resampled(above, statistic, rng) / np.maximum(_resampled(below, statistic, rng), 1e-12)
    low, high = np.quantile(ratios, (0.025, 0.975), axis=0)
    return low, high


def _resampled(series: Values, statistic: Callable[[Values], Values], rng: np.random.Generator) -> Values:
    count = len(series)
    length = max(round(count**0.5), 1)
    blocks = -(-count // length)
    results = []
    for _ in range(_RESAMPLES):
        begins = rng.integers(count, size=blocks)
        # The series is closed to a ring, so that its ends are drawn as often as its middle.
        chosen = (begins[:, None] + np.arange(length)).reshape(-1)[:count] % count
        results.append(statistic(series[chosen]))
    return np.stack(results)
