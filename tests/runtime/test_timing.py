"""Splitting a call into stages."""

from __future__ import annotations

from time import perf_counter, sleep

import pytest

from engine.runtime.timing import STAGE_NAMES, Stopwatch, in_order


def test_laps_add_up_to_the_whole_and_repeat() -> None:
    begin = perf_counter()
    watch = Stopwatch()
    for stage in ("network", "letterbox", "network"):
        sleep(0.002)
        watch.lap(stage)
    whole = perf_counter() - begin
    assert sum(watch.stages.values()) == pytest.approx(whole, rel=0.03)
    assert watch.stages["network"] >= 0.004
    assert list(in_order(watch.stages)) == ["letterbox", "network"]


def test_threads_share_the_time_that_passed() -> None:
    begin = perf_counter()
    watch = Stopwatch()
    sleep(0.004)
    watch.lap_beside([{"letterbox": 1.0, "network": 4.0}, {"letterbox": 1.0, "network": 2.0}])
    whole = perf_counter() - begin
    assert sum(watch.stages.values()) == pytest.approx(whole, rel=0.03)
    assert watch.stages["network"] == pytest.approx(3 * watch.stages["letterbox"])


def test_what_a_device_measured_leaves_a_rest() -> None:
    watch = Stopwatch()
    sleep(0.004)
    watch.lap_apart({"h2d": 0.001, "network": 0.002}, rest="network")
    assert watch.stages["h2d"] == 0.001
    assert watch.stages["network"] >= 0.003
    assert list(in_order(watch.stages)) == ["h2d", "network"]


def test_an_order_for_every_stage() -> None:
    assert tuple(in_order(dict.fromkeys(reversed(STAGE_NAMES), 0.0))) == STAGE_NAMES
