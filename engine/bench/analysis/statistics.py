"""Summaries of latencies, and confidence intervals of the ratio between two runs."""

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
_WIDEST = math.log(1e6)  # half-width of an uninformative interval; JSON has no infinity


@dataclass(frozen=True)
class Summary:
    """The distribution of a duration, in milliseconds.

    Attributes:
        count: number of samples.
        values: by the names of MEASURES.
    """

    count: int
    values: dict[str, float]

    def __getitem__(self, measure: str) -> float:
        """Return one measure."""
        return self.values[measure]

    def is_resolved(self, measure: str) -> bool:
        """Whether a quantile has at least one expected sample beyond it; otherwise it is close to the maximum."""
        return measure not in QUANTILES or self.count * (1 - QUANTILES[measure]) >= 1

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {"count": self.count, **self.values}


def summarise(seconds: Sequence[float] | Values) -> Summary | None:
    """Summarise durations; None for an empty series."""
    values = np.asarray(seconds, np.float64) * 1e3
    if not len(values):
        return None
    quantiles = np.quantile(values, list(QUANTILES.values())).tolist()
    measures = (float(values.mean()), *quantiles, float(values.max()))
    return Summary(len(values), dict(zip(MEASURES, measures, strict=True)))


def ratio_interval(
    above: Values, below: Values, statistic: Callable[[Values], Values], seed: int = 0
) -> tuple[Values, Values]:
    """Return the 95 % intervals of statistic(above) / statistic(below): lower ends and upper ends.

    This is a block bootstrap. Neighbouring requests are correlated, because they share a queue: at a high load a busy
    period lasts for hundreds of them. Long blocks are therefore resampled with replacement; resampling single requests
    would give intervals that are too narrow. With few blocks the estimate of the spread is uncertain, hence Student's
    t. The larger spread of the two series serves for both, because a series without busy periods underestimates it.

    Args:
        above: series in the order of time.
        below: likewise.
        statistic: maps a series [N] to numbers [K].
        seed: of the resampling.
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
    """Return logarithms; 0, a slice without answers, counts as a very small number."""
    return np.log(np.maximum(values, 1e-12))


def _resampled(series: Values, statistic: Callable[[Values], Values], rng: np.random.Generator) -> Values:
    count = len(series)
    length = max(count // _BLOCKS, 1)
    blocks = -(-count // length)
    results = []
    for _ in range(_RESAMPLES):
        begins = rng.integers(count, size=blocks)
        # Circular blocks: the ends of the series are drawn as often as its middle.
        chosen = (begins[:, None] + np.arange(length)).reshape(-1)[:count] % count
        results.append(statistic(series[chosen]))
    return np.stack(results)
