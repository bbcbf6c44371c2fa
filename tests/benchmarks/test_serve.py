"""What the soak and the comparison with other servers make of what they saw."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.serve.peers import at_share, capacity, shares
from benchmarks.serve.soak import faults

GOOD: dict[str, Any] = {
    "mixed sizes": {"right": 10},
    "soak": {"right": 9, "refused": 1, "broken by the kill": 2, "bomb: right": 3},
    "shutdown": {"right": 4, "exit status": 0},
    "killed worker is back": True,
    "memory_mib": [100.0, 104.0],
    "descriptors": [40.0, 50.0],
    "not_ready": 0,
}


def test_a_good_soak_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("mixed sizes", {"right": 9, "WRONG": 1}, "mixed sizes: 1 x WRONG"),
        ("soak", {"bomb: WRONG: 500": 2}, "soak: 2 x bomb: WRONG: 500"),
        ("soak", {"LOST: TimeoutError ": 1}, "soak: 1 x LOST: TimeoutError "),
        ("shutdown", {"LOST: x": 1, "exit status": 0}, "shutdown: 1 x LOST: x"),
        ("shutdown", {"right": 4, "exit status": 1}, "exit status 1"),
        ("killed worker is back", False, "a killed worker did not come back"),
        ("memory_mib", [100.0, 106.0], "memory went from 100.0 to 106.0 MiB"),
        ("descriptors", [40.0, 80.0], "descriptors went from 40.0 to 80.0"),
        ("not_ready", 1, "1 readings say that it is not ready"),
    ],
)
def test_each_fault_is_named(part: str, value: object, says: str) -> None:
    assert faults({**GOOD, part: value}) == [says]


def test_shares_are_of_the_same_load() -> None:
    def point(engine: str, value: int, rate: float, p50: float) -> dict[str, Any]:
        load = {"kind": "concurrency", "value": value}
        return {"engine": engine, "load": load, "throughput_per_s": rate, "latency_ms": {"p50": p50}}

    points = [point("a", 1, 100, 10), point("url", 1, 80, 12), point("a", 4, 200, 20), point("url", 4, 190, 21.5)]
    lines = shares([*points, {**points[1], "latency_ms": None}], "a")
    assert [line.split(maxsplit=3)[3] for line in lines] == [
        "80.0% of the throughput, p50 +2.00 ms",
        "95.0% of the throughput, p50 +1.50 ms",
    ]


def test_the_capacity_is_the_largest_throughput_of_the_same_server() -> None:
    points = [{"engine": name, "throughput_per_s": rate} for name, rate in (("a", 9), ("b", 4), ("b", 7), ("b", 5))]
    assert capacity(points, "b") == 7


@pytest.mark.parametrize(
    ("failed", "latency", "says"),
    [(0, {"p50": 12.3, "p99": 45.6}, "p50 12.30, p99 45.60 ms"), (3, {"p50": 1, "p99": 2}, "3 requests failed")],
)
def test_an_open_loop_has_latencies_unless_it_failed(failed: int, latency: dict[str, float], says: str) -> None:
    point = {"engine": "a", "load": {"kind": "rate", "value": 38.5}, "failed": failed, "latency_ms": latency}
    assert at_share(point).split(maxsplit=1)[1] == f"open loop, 38.5/s, 70% of its capacity: {says}"
