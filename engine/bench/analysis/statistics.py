"""Latencies in a few numbers, and how far two runs differ beyond their noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MEASURES = ("mean", *QUANTILES, "max")
_RESAMPLES = 1000
_BLOCKS = 8
_STUDENT = 2.365  # the 97.5 % quantile of Student's t with _BLOCKS - 1 degrees of freedom
_WIDEST = math.log(1e6)  # an interval that says nothing, yet JSON can hold


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

    Neighbouring requests share a queue and the machine's moods: at a high load a busy spell lasts for hundreds of them.
    So long blocks are drawn anew with replacement, not single requests, which would promise more than was measured.
    So few blocks know the spread of their statistic badly, hence Student's t; and of two series the one that happened
    to have fewer spells knows nothing of those it was spared, hence the larger spread of the two for both.

    Args:
        above: series in the order of time.
        below: likewise.
        statistic: maps a series [N] to numbers [K].
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    spreads = [_log(_resampled(series, statistic, rng)).std(axis=0) for series in (above, below)]
    half = _STUDENT * (_BLOCKS / (_BLOCKS - 1)) ** 0.5 * 2**0.5 * np.maximum(*spreads)
    if min(len(above), len(below)) < _BLOCKS:
        half = np.full_like(half, np.inf)
    half = np.minimum(half, _WIDEST)
    middle = _log(statistic(above)) - _log(statistic(below))
    return np.exp(middle - half), np.exp(middle + half)


def _log(values: Values) -> Values:
    """Return logarithms; slices in which nothing was answered have none: theirs is that of a very small number."""
    return np.log(np.maximum(values, 1e-12))


def _resampled(series: Values, statistic: Callable[[Values], Values], rng: np.random.Generator) -> Values:
    count = len(series)
    length = max(count // _BLOCKS, 1)
    blocks = -(-count // length)
    results = []
    for _ in range(_RESAMPLES):
        begins = rng.integers(count, size=blocks)
        # The series is closed to a ring, so that its ends are drawn as often as its middle.
        chosen = (begins[:, None] + np.arange(length)).reshape(-1)[:count] % count
        results.append(statistic(series[chosen]))
    return np.stack(results)
