"""Verdicts: which are given, and which are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.bench.analysis.points import Point
from engine.bench.analysis.verdicts import verdicts
from engine.bench.load.generator import ClosedLoop, Load, OpenLoop
from engine.bench.load.resources import Usage
from tests.support.bench.points import CALM, STAGES, point, simulated_engine

ON_GPU = simulated_engine(device="cuda:0")


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
    stages = {**dict.fromkeys(STAGES, 0.001), stage: 0.016}
    (verdict,) = verdicts([point(stages, load=ClosedLoop(count)) for count in (1, 4)])
    assert verdict.kind == kind
    assert f"{stage} 16 ms" in verdict.evidence
    assert verdict.engine == "fp16"
    assert verdict.load == "concurrency 4, batch up to 4"
    assert str(verdict) == f"fp16, concurrency 4, batch up to 4: {kind}: {verdict.evidence}"


@pytest.mark.parametrize(
    "loads",
    [
        [OpenLoop(5)],  # of the 100/s that it can do
        [OpenLoop(5), OpenLoop(40)],
        [ClosedLoop(4)],  # nothing to compare it with
        [ClosedLoop(4), ClosedLoop(5)],  # too little more to expect much of
        [ClosedLoop(1), OpenLoop(60)],  # not the same kind of number
    ],
)
def test_an_engine_below_its_limit_has_no_bottleneck(loads: list[Load]) -> None:
    (verdict,) = verdicts([point(load=load, duration=20) for load in loads])
    assert verdict.kind == "largest stage"
    assert verdict.evidence == "network 6 ms of 10 ms of work on a request (60%); no load found the engine's limit"


def test_a_limit_is_found_by_either_kind_of_load() -> None:
    bound = verdicts([point(load=load) for load in (OpenLoop(40), OpenLoop(130))])[0]
    assert (bound.kind, bound.load) == ("network-bound", "130/s, batch up to 4")
    # 130 is more than 4, but rates and concurrencies are not compared.
    bound = verdicts([point(load=load) for load in (ClosedLoop(1), ClosedLoop(4), OpenLoop(130))])[0]
    assert (bound.kind, bound.load) == ("network-bound", "concurrency 4, batch up to 4")


def test_each_engine_is_judged_at_its_highest_throughput() -> None:
    points = [point(engine=simulated_engine(name), load=ClosedLoop(count)) for name in ("a", "b") for count in (1, 4)]
    assert [(verdict.engine, verdict.kind) for verdict in verdicts(points)] == [
        ("a", "network-bound"),
        ("b", "network-bound"),
    ]


def test_a_gpu_that_waits_for_one_busy_core_is_enqueue_bound() -> None:
    usage = {**CALM, "cpu_cores": Usage(1.0, 0.9, 1.1), "gpu_percent": Usage(40, 30, 50)}
    points = [point(load=ClosedLoop(count), usage=usage, engine=ON_GPU) for count in (1, 4)]
    (verdict,) = verdicts(points)
    assert verdict.kind == "enqueue-bound"
    assert "GPU is busy 40 % of the time" in verdict.evidence
    assert "1.00 cores" in verdict.evidence
    # Not if the GPU is busy, the CPU idle, or only one load was tried.
    for other in ({"gpu_percent": Usage(95, 90, 99)}, {"cpu_cores": Usage(0.3, 0.2, 0.4)}):
        assert kinds(*(point(load=ClosedLoop(n), usage={**usage, **other}) for n in (1, 4))) == ["network-bound"]
    assert kinds(points[0]) == ["largest stage"]


@pytest.mark.parametrize(
    ("stage", "kind"), [("h2d", "transfer-bound"), ("letterbox", "preprocessing-bound"), ("d2h", "transfer-bound")]
)
def test_copies_and_letterboxes_leave_a_gpu_idle_too(stage: str, kind: str) -> None:
    # NVML's utilisation counts kernels only: to it a GPU that only copies is idle.
    usage = {**CALM, "cpu_cores": Usage(1.0, 0.9, 1.1), "gpu_percent": Usage(40, 30, 50)}
    stages = {**STAGES, stage: 0.02}
    assert kinds(*(point(stages, load=ClosedLoop(n), usage=usage, engine=ON_GPU) for n in (1, 4))) == [kind]


def test_cores_that_decode_do_not_enqueue() -> None:
    # 100 requests/s, decoded for 8 ms each: 0.8 cores of the usage are decoding.
    usage = {**CALM, "cpu_cores": Usage(1.0, 0.9, 1.1), "gpu_percent": Usage(40, 30, 50)}
    points = [decoding(point(load=ClosedLoop(n), usage=usage, engine=ON_GPU), 8.0) for n in (1, 4)]
    assert kinds(*points) == ["network-bound"]
    # On a CPU the same threads take cores from the network.
    assert kinds(*(decoding(point(load=ClosedLoop(n)), 8.0) for n in (1, 4))) == ["preprocessing-bound"]


def decoding(point: Point, milliseconds: float) -> Point:
    """Return the point with another mean time of decoding, in threads that were free."""
    summary = point.stages["decode"]
    decode = replace(summary, values={**summary.values, "mean": milliseconds})
    return replace(point, stages={**point.stages, "decode": decode}, decode_threads=8)


def test_disturbances_are_named() -> None:
    other = {**CALM, "other_cores": Usage(0.7, 0.1, 1.9)}
    assert kinds(point(usage=other)) == ["largest stage", "noise"]
    for clock in ("gpu_clock_mhz", "cpu_clock_mhz"):
        (_, verdict) = verdicts([point(usage={**CALM, clock: Usage(1500, 1200, 1900)})])
        assert verdict.kind == "unstable clock"
        assert "from 1200 to 1900 MHz" in verdict.evidence
        assert kinds(point(usage={**CALM, clock: Usage(1880, 1850, 1900)})) == ["largest stage"]


def test_too_heavy_a_load_is_named() -> None:
    (_, verdict) = verdicts([point(load=OpenLoop(130))])
    assert verdict.kind == "unsteady"
    assert "arrive faster than they are answered" in verdict.evidence
    assert "measured all the same, for 4 s" in verdict.evidence


def test_gaps_between_stages_are_named() -> None:
    assert kinds(point(gap=0.0002)) == ["largest stage"]
    (_, verdict) = verdicts([point(gap=0.001)])
    assert verdict.kind == "gaps"
    assert "90.9%" in verdict.evidence
