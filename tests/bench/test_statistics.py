"""Quantiles, and intervals that promise no more than was measured."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.bench.statistics import MEASURES, ratio_interval, summarise


def test_a_summary_is_in_milliseconds() -> None:
    summary = summarise([i / 1000 for i in range(1, 1002)])
    assert summary is not None
    assert summary.count == 1001
    expected = {"mean": 501, "p50": 501, "p90": 901, "p95": 951, "p99": 991, "p99.9": 1000, "max": 1001}
    assert summary.values == pytest.approx(expected)
    assert tuple(summary.to_dict()) == ("count", *MEASURES)
    assert all(summary.is_resolved(measure) for measure in MEASURES)
    assert summarise([]) is None


def test_quantiles_beyond_the_data_are_marked() -> None:
    summary = summarise([0.001] * 150)
    assert summary is not None
    assert summary.is_resolved("p99")
    assert not summary.is_resolved("p99.9")
    assert summary.is_resolved("max")


def autocorrelated(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Latencies that remember the ones before, with the same distribution throughout."""
    noise = rng.standard_normal(count)
    for i in range(1, count):
        noise[i] = 0.8 * noise[i - 1] + 0.6 * noise[i]
    return np.exp(0.2 * noise)


def mean(series: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([series.mean()])


def test_intervals_hold_for_latencies_that_depend_on_each_other(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.bench.statistics._RESAMPLES", 200)
    runs = 60
    holds = 0
    for _ in range(runs):
        low, high = ratio_interval(autocorrelated(rng, 900), autocorrelated(rng, 900), mean)
        holds += bool(low[0] <= 1 <= high[0])
    # 95 % of 60 is 57; blocks of 30 of requests that forget half in 3 give a little less. Drawing single requests
    # would hold about half the time.
    assert holds >= 49


def test_intervals_are_around_the_ratio_and_repeatable(rng: np.random.Generator) -> None:
    old, new = rng.lognormal(0, 0.1, 500), 0.8 * rng.lognormal(0, 0.1, 500)
    low, high = ratio_interval(old, new, mean)
    assert low[0] < old.mean() / new.mean() < high[0]
    assert 1.2 < low[0] < high[0] < 1.3
    assert ratio_interval(old, new, mean) == (low, high)


def test_slices_without_an_answer_give_finite_intervals() -> None:
    low, high = ratio_interval(np.ones(20), np.array([5.0] + [0.0] * 19), mean)
    assert np.isfinite([low, high]).all()
