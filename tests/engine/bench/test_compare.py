"""Comparison of a run with an earlier one."""

from __future__ import annotations

from typing import Any

import pytest

from engine.bench.analysis.compare import compare, pairs
from engine.bench.load.generator import ClosedLoop, OpenLoop
from engine.errors import InvalidArgumentError
from tests.support.bench.points import STAGES, point, results, simulated_engine

pytestmark = pytest.mark.usefixtures("few_draws")

LOADS = (ClosedLoop(1), ClosedLoop(4), OpenLoop(50))


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples: these tests are not about the width of intervals."""
    monkeypatch.setattr("engine.bench.analysis.statistics._RESAMPLES", 100)


def run(factor: float, *, name: str = "fp16") -> dict[str, Any]:
    """The results of a server whose times are multiplied by `factor`."""
    stages = {stage: seconds * factor for stage, seconds in STAGES.items()}
    return results(*(point(stages, engine=simulated_engine(name), load=load) for load in LOADS)).to_dict()


def test_equal_runs_have_ratio_one() -> None:
    comparison = compare(run(1), run(1))
    assert [(ratio.load, ratio.measure) for ratio in comparison.ratios] == [
        *(("concurrency 1", measure) for measure in ("throughput", "mean", "p50", "p99")),
        *(("concurrency 4", measure) for measure in ("throughput", "mean", "p50", "p99")),
        *(("50/s", measure) for measure in ("mean", "p50", "p99")),
    ]
    for ratio in comparison.ratios:
        assert ratio.speed == 1
        assert ratio.low <= 1 <= ratio.high
    assert comparison.regressions(1.0) == []
    assert comparison.differences == comparison.unmatched == ()


def test_a_regression_is_found_and_noise_is_not() -> None:
    comparison = compare(run(1.25), run(1))
    closed = [ratio for ratio in comparison.ratios if ratio.load == "concurrency 1"]
    for ratio in closed:
        assert ratio.speed == pytest.approx(0.8, rel=0.01)
        assert ratio.is_below(0.9)
        assert not ratio.is_below(0.75)
    assert comparison.regressions(0.5) == []
    # Reversed: a speed-up is above 1 for latencies and throughput alike.
    assert all(ratio.speed > 1.2 and not ratio.is_below(1.0) for ratio in compare(run(1), run(1.25)).ratios)


def test_engines_match_by_name_and_single_ones_always() -> None:
    assert len(compare(run(1, name="new"), run(1, name="old")).ratios) == 11
    both = {**run(1), "points": run(1)["points"] + run(1, name="other")["points"]}
    comparison = compare(both, run(1))
    assert len(comparison.ratios) == 11
    assert comparison.unmatched == tuple(f"other, {load.label()}, batch up to 4" for load in LOADS)
    with pytest.raises(InvalidArgumentError, match="none of these points: new, concurrency 1"):
        pairs([{**run(1, name="new")["points"][0], "batch_limit": 9}], run(1))


def test_differences_of_environment_and_settings_are_named() -> None:
    old = run(1)
    old["environment"] |= {"cpu": "another", "time": "earlier", "load_average": [9, 9, 9]}
    old["workload"] |= {"pictures": 7}
    old["settings"] |= {"seed": 1, "rate": "50,60", "compare": "older.json"}
    new = run(1)
    new["settings"] |= {"seed": 0, "rate": "50", "compare": None, "contexts": 2}
    assert compare(new, old).differences == (
        "cpu: another before, simulated now",
        "pictures: 7 before, 1 now",
        "seed: 1 before, 0 now",
        "contexts: None before, 2 now",
    )
