"""What is said about a run, and what is not."""

from __future__ import annotations

import pytest

from engine.bench.load import ClosedLoop, OpenLoop
from engine.bench.resources import Usage
from engine.bench.verdicts import verdicts
from tests.bench.points import CALM, STAGES, point


def kinds(*points: object) -> list[str]:
    return [verdict.kind for verdict in verdicts(points)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("network", "network-bound"),
        ("letterbox", "preprocessing-bound"),
        ("h2d", "transfer-bound"),
        ("d2h", "transfer-bound"),
        ("post-processing", "post-processing-bound"),
    ],
)
def test_the_longest_stages_bound_an_engine(stage: str, kind: str) -> None:
    (verdict,) = verdicts([point({**dict.fromkeys(STAGES, 0.001), stage: 0.016})])
    assert verdict.kind == kind
    assert f"{stage} 16 ms" in verdict.evidence
    assert verdict.engine == "fp16"
    assert verdict.load == "1 at once, batch up to 4"
    assert str(verdict) == f"fp16, 1 at once, batch up to 4: {kind}: {verdict.evidence}"


def test_each_engine_is_judged_at_its_highest_throughput() -> None:
    points = [point(name=name, load=ClosedLoop(count)) for name in ("a", "b") for count in (1, 4)]
    assert [(verdict.engine, verdict.kind) for verdict in verdicts(points)] == [
        ("a", "network-bound"),
        ("b", "network-bound"),
    ]


def test_a_gpu_that_waits_for_one_busy_core_is_enqueue_bound() -> None:
    usage = {**CALM, "cpu_cores": Usage(1.0, 0.9, 1.1), "gpu_percent": Usage(40, 30, 50)}
    points = [point(load=ClosedLoop(count), usage=usage, device="cuda:0") for count in (1, 4)]
    (verdict,) = verdicts(points)
    assert verdict.kind == "enqueue-bound"
    assert "GPU is busy 40 % of the time" in verdict.evidence
    assert "1.00 cores" in verdict.evidence
    # Not where the GPU is busy, where the processor is idle, or where only one load was tried.
    for other in ({"gpu_percent": Usage(95, 90, 99)}, {"cpu_cores": Usage(0.3, 0.2, 0.4)}):
        assert kinds(*(point(load=ClosedLoop(n), usage={**usage, **other}) for n in (1, 4))) == ["network-bound"]
    assert kinds(points[0]) == ["network-bound"]


def test_disturbances_are_named() -> None:
    other = {**CALM, "other_cores": Usage(0.7, 0.1, 1.9)}
    assert kinds(point(usage=other)) == ["network-bound", "noise"]
    for clock in ("gpu_clock_mhz", "cpu_clock_mhz"):
        (_, verdict) = verdicts([point(usage={**CALM, clock: Usage(1500, 1200, 1900)})])
        assert verdict.kind == "unstable clock"
        assert "from 1200 to 1900 MHz" in verdict.evidence
        assert kinds(point(usage={**CALM, clock: Usage(1880, 1850, 1900)})) == ["network-bound"]


def test_too_heavy_a_load_is_named() -> None:
    (_, verdict) = verdicts([point(load=OpenLoop(130))])
    assert verdict.kind == "unsteady"
    assert "come faster than they are answered" in verdict.evidence
    assert "measured all the same, for 4 s" in verdict.evidence


def test_lost_time_is_named() -> None:
    assert kinds(point(gap=0.0002)) == ["network-bound"]
    (_, verdict) = verdicts([point(gap=0.001)])
    assert verdict.kind == "gaps"
    assert "90.9%" in verdict.evidence
