"""Compares a run with an earlier one: speed ratios, their confidence intervals, regressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.bench.analysis.environment import differences
from engine.bench.analysis.results import COMPARED
from engine.bench.analysis.statistics import QUANTILES, Values, ratio_interval
from engine.errors import InvalidArgumentError

_IGNORED = {
    *("time", "load_average", "memory_available_mib"),
    *("engine", "url", "output", "compare", "fail_below", "labels", "reference", "trust_embedded_plugins", "images"),
    *("concurrency", "rate", "batch"),
}
"""Not reported as differences. By line: values of the moment; what does not change the speed; what points match by."""


@dataclass(frozen=True)
class Ratio:
    """One measure of one point in both runs.

    Attributes:
        engine: its name in the new run.
        load: label of the load.
        batch: batch limit.
        measure: "throughput", in requests/s, or "mean", "p50" or "p99" of the latency, in ms.
        old: value in the earlier run.
        new: value in the new run.
        speed: speed-up: new / old throughput, old / new latency.
        low: lower end of the 95 % interval of the speed-up.
        high: its upper end.
    """

    engine: str
    load: str
    batch: int
    measure: str
    old: float
    new: float
    speed: float
    low: float
    high: float

    def is_below(self, limit: float) -> bool:
        """Whether the whole interval lies below `limit`, so that noise within the runs does not explain it."""
        return self.high < limit


@dataclass(frozen=True)
class Comparison:
    """A run compared with an earlier one.

    Attributes:
        ratios: of the points that both runs have.
        unmatched: points of the new run that the earlier one lacks, in words.
        differences: of the two environments, pictures and settings, in words; they may explain a ratio too.
    """

    ratios: tuple[Ratio, ...]
    unmatched: tuple[str, ...]
    differences: tuple[str, ...]

    def regressions(self, limit: float) -> list[Ratio]:
        """Return the ratios that are below `limit`."""
        return [ratio for ratio in self.ratios if ratio.is_below(limit)]


def pairs(points: Sequence[dict[str, Any]], old: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Pair each point with its counterpart in an earlier run, or with None.

    Counterparts have the same engine name, load and batch limit. If each run has a single engine, its name may differ.

    Raises:
        InvalidArgumentError: no point has a counterpart.
    """
    one_each = all(len({point["engine"] for point in run}) == 1 for run in (points, old["points"]))
    before = {_key(point, one_each): point for point in old["points"]}
    found = [(point, before.get(_key(point, one_each))) for point in points]
    if all(match is None for _, match in found):
        raise InvalidArgumentError(f"the earlier results have none of these points: {'; '.join(map(_name, points))}")
    return found


def compare(new: dict[str, Any], old: dict[str, Any]) -> Comparison:
    """Compare two runs, as engine.bench.analysis.results.read_results gives them; see pairs."""
    found = pairs(new["points"], old)
    return Comparison(
        tuple(ratio for point, match in found if match is not None for ratio in _ratios(point, match)),
        tuple(_name(point) for point, match in found if match is None),
        tuple(
            difference
            for part in ("environment", "workload", "settings")
            for difference in differences(new[part], old[part], ignored=_IGNORED)
        ),
    )


def _name(point: dict[str, Any]) -> str:
    batch = f", batch up to {point['batch_limit']}" if point["batch_limit"] else ""
    return f"{point['engine']}, {_load(point)}{batch}"


def _key(point: dict[str, Any], one_each: bool) -> tuple[object, ...]:
    return (None if one_each else point["engine"], point["load"]["kind"], point["load"]["value"], point["batch_limit"])


def _load(point: dict[str, Any]) -> str:
    value = point["load"]["value"]
    return f"concurrency {value:g}" if point["load"]["kind"] == "concurrency" else f"{value:g}/s"


def _ratios(new: dict[str, Any], old: dict[str, Any]) -> list[Ratio]:
    ratios = []
    if new["load"]["kind"] == "concurrency":  # an open loop's throughput is its rate
        ours, theirs = (np.asarray(run["answers_per_slice"], np.float64) / run["seconds"] for run in (new, old))
        if theirs.any() and old["throughput_per_s"]:
            rates = [(old["throughput_per_s"], new["throughput_per_s"])]
            speeds = [now / before for before, now in rates]
            ratios += _make(new, ("throughput",), rates, speeds, ratio_interval(ours, theirs, _mean))
    if new["latencies_ms"] and old["latencies_ms"]:
        ours, theirs = (np.asarray(run["latencies_ms"], np.float64) for run in (new, old))
        times = [(old["latency_ms"][measure], new["latency_ms"][measure]) for measure in COMPARED]
        speeds = [before / now for before, now in times]
        ratios += _make(new, COMPARED, times, speeds, ratio_interval(theirs, ours, _latency))
    return ratios


def _make(
    point: dict[str, Any],
    measures: Sequence[str],
    values: Sequence[tuple[float, float]],
    speeds: Sequence[float],
    interval: tuple[Values, Values],
) -> list[Ratio]:
    return [
        Ratio(point["engine"], _load(point), point["batch_limit"], measure, old, new, speed, float(low), float(high))
        for measure, (old, new), speed, low, high in zip(measures, values, speeds, *interval, strict=True)
    ]


def _mean(series: Values) -> Values:
    return np.array([series.mean()])


def _latency(series: Values) -> Values:
    """Return the measures of COMPARED."""
    return np.array([series.mean(), *np.quantile(series, [QUANTILES[name] for name in COMPARED[1:]])])
