"""Splitting a call into stages."""

from __future__ import annotations

import pytest

from engine.runtime import timing
from engine.runtime.timing import STAGE_NAMES, Stopwatch, in_order


class Clock:
    """A simulated clock, with fractions of a second that sum exactly."""

    def __init__(self) -> None:
        self.now = 512.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", clock)
    return clock


def test_laps_add_up_to_the_whole_and_repeat(clock: Clock) -> None:
    watch = Stopwatch()
    for stage, seconds in (("network", 0.25), ("letterbox", 0.125), ("network", 2.0)):
        clock.now += seconds
        watch.lap(stage)
    assert watch.stages == {"network": 2.25, "letterbox": 0.125}
    assert list(in_order(watch.stages)) == ["letterbox", "network"]


def test_threads_share_the_time_that_passed(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 0.25
    watch.lap("decode")
    clock.now += 4.0
    watch.lap_parallel([{"letterbox": 1.0, "network": 4.0}, {"letterbox": 1.0, "network": 2.0}])
    assert watch.stages == {"decode": 0.25, "letterbox": 1.0, "network": 3.0}


def test_what_a_device_measured_leaves_a_rest(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 0.5
    watch.lap_measured({"h2d": 0.125, "network": 0.25}, rest="network")
    assert watch.stages == {"h2d": 0.125, "network": 0.375}
    clock.now += 1.0
    watch.lap_measured({"d2h": 0.25}, rest="letterbox")
    assert watch.stages == {"h2d": 0.125, "network": 0.375, "d2h": 0.25, "letterbox": 0.75}


def test_an_order_for_every_stage() -> None:
    assert tuple(in_order(dict.fromkeys(reversed(STAGE_NAMES), 0.0))) == STAGE_NAMES
