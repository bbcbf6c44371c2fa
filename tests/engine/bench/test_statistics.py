"""Quantiles, and the coverage of confidence intervals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.bench.analysis.statistics import MEASURES, ratio_interval, summarise


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
    """A stationary series of autocorrelated latencies."""
    noise = rng.standard_normal(count)
    for i in range(1, count):
        noise[i] = 0.8 * noise[i - 1] + 0.6 * noise[i]
    return np.exp(0.2 * noise)


def mean(series: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([series.mean()])


def test_intervals_hold_for_autocorrelated_latencies(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bench.analysis.statistics._RESAMPLES", 200)
    runs = 60
    holds = 0
    for _ in range(runs):
        low, high = ratio_interval(autocorrelated(rng, 900), autocorrelated(rng, 900), mean)
        holds += bool(low[0] <= 1 <= high[0])
    # 95 % of 60 is 57. With single requests resampled, about half of the intervals would hold.
    assert holds >= 53


def queued(rng: np.random.Generator, count: int, utilisation: float) -> NDArray[np.float64]:
    """Latencies of an M/D/1 queue with service time 1, which begins empty."""
    gaps = rng.exponential(1 / utilisation, count)
    waited = np.zeros(count)
    for i in range(1, count):
        waited[i] = max(0.0, waited[i - 1] + 1 - gaps[i])
    return waited + 1


def mean_and_p99(series: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([series.mean(), np.quantile(series, 0.99)])


def test_the_same_queue_with_other_arrivals_is_no_regression(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At a utilisation of 0.8 a busy period lasts for hundreds of requests: a series of 800 has few of them.
    monkeypatch.setattr("engine.bench.analysis.statistics._RESAMPLES", 60)
    pairs = 40
    misses = np.zeros(2)
    for _ in range(pairs):
        low, high = ratio_interval(queued(rng, 800, 0.8), queued(rng, 800, 0.8), mean_and_p99)
        misses += (high < 1) | (low > 1)
    # Percentile intervals of blocks of length sqrt(800) would miss a quarter of the means and a third of the p99s.
    assert misses[0] <= 4
    assert misses[1] <= 7


def test_a_handful_of_requests_has_no_interval() -> None:
    for few in (np.ones(1), np.ones(7)):
        low, high = ratio_interval(few, np.ones(500), mean)
        assert low[0] < 1e-5
        assert high[0] > 1e5


def test_intervals_are_around_the_ratio_and_repeatable(rng: np.random.Generator) -> None:
    old, new = rng.lognormal(0, 0.1, 500), 0.8 * rng.lognormal(0, 0.1, 500)
    low, high = ratio_interval(old, new, mean)
    assert low[0] < old.mean() / new.mean() < high[0]
    assert 1.2 < low[0] < high[0] < 1.3
    assert ratio_interval(old, new, mean) == (low, high)


def test_slices_without_an_answer_give_finite_intervals() -> None:
    low, high = ratio_interval(np.ones(20), np.array([5.0] + [0.0] * 19), mean)
    assert np.isfinite([low, high]).all()
