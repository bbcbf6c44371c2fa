"""The steady-state test."""

from __future__ import annotations

import numpy as np
import pytest

from engine.bench.load.client import QueueClient
from engine.bench.load.generator import ClosedLoop, OpenLoop
from engine.bench.load.measure import measure
from engine.bench.load.windows import MOST_WINDOWS, WINDOWS, Window, unsteadiness
from tests.support.bench.simulation import PICTURES, AtOnce, BlockingServer, Request, VirtualClock


def windows(rng: np.random.Generator, medians: list[float], count: int = 200, spread: float = 0.05) -> list[Window]:
    services = [median * rng.lognormal(0, spread, count) for median in medians]
    return [Window(i, i + 1, service, count * (i + 1), count * (i + 1)) for i, service in enumerate(services)]


def test_equal_windows_are_steady(rng: np.random.Generator) -> None:
    for is_open in (False, True):
        assert unsteadiness(windows(rng, [0.01] * 5), is_open=is_open) is None


def test_a_server_that_becomes_slower_is_not_steady(rng: np.random.Generator) -> None:
    for is_open in (False, True):
        reason = unsteadiness(windows(rng, [0.010, 0.010, 0.011, 0.012, 0.012]), is_open=is_open)
        assert reason is not None
        assert "median time of working" in reason


def test_few_requests_of_mixed_sizes_differ_by_chance(rng: np.random.Generator) -> None:
    # Half of the requests take twice as long: medians of eight vary, but not significantly.
    values = [np.where(rng.random(8) < 0.5, 0.01, 0.02) * rng.lognormal(0, 0.02, 8) for _ in range(5)]
    medians = [float(np.median(value)) for value in values]
    assert max(medians) > 1.2 * min(medians)
    assert unsteadiness([Window(i, i + 1, v, 8 * i, 8 * i) for i, v in enumerate(values)], is_open=False) is None


def test_too_few_answers_are_not_steady(rng: np.random.Generator) -> None:
    reason = unsteadiness(windows(rng, [0.01] * 5, count=3), is_open=False)
    assert reason == "a window of 1 s has 3 answers: measure for longer"


def test_a_stall_is_seen_in_a_closed_loop(rng: np.random.Generator) -> None:
    # It affects one request, which no median shows, but the number of answers drops.
    entries = windows(rng, [0.01] * 5)
    entries[2] = Window(2, 3, entries[2].service[:100], 500, 500)
    reason = unsteadiness(entries, is_open=False)
    assert reason == "windows answered from 100 to 200 requests/s"


def test_a_queue_that_only_grows_is_seen_in_an_open_loop(rng: np.random.Generator) -> None:
    service = np.full(100, 0.01)
    growing = [Window(i, i + 1, service, 130 * i, 100 * i) for i in range(5)]
    reason = unsteadiness(growing, is_open=True)
    assert reason is not None
    assert reason.startswith("the queue grew by 120 of 520 requests")
    wandering = [Window(i, i + 1, service, 100 * i + extra, 100 * i) for i, extra in enumerate((0, 9, 30, 2, 15))]
    assert unsteadiness(wandering, is_open=True) is None


class Changing(BlockingServer):
    """Takes twice as long in every other window of 0.6 s, until `steady_from`."""

    def __init__(self, clock: VirtualClock, steady_from: float) -> None:
        super().__init__(clock, 0.01)
        self._from = steady_from

    def submit(self, image: np.ndarray) -> Request:
        self._service = 0.01 if self._clock.now() > self._from else 0.01 * (1 + int(self._clock.now() / 0.6) % 2)
        return super().submit(image)


@pytest.mark.parametrize("load", [ClosedLoop(1), OpenLoop(20)])
def test_warm_up_ends_where_it_is_steady(load: ClosedLoop | OpenLoop) -> None:
    clock = VirtualClock()
    client = QueueClient(Changing(clock, 4.0), PICTURES, clock, AtOnce())
    measured = measure(client, load, duration=3.0, rng=np.random.default_rng(2))
    assert measured.unsteady is None
    assert measured.warm_up_s >= 3.5
    assert len(measured.windows) == WINDOWS
    assert measured.seconds == pytest.approx(3.0)


def test_a_server_that_never_becomes_steady_is_reported() -> None:
    clock = VirtualClock()
    seen: list[Window] = []
    client = QueueClient(Changing(clock, 1e9), PICTURES, clock, AtOnce())
    measured = measure(client, ClosedLoop(1), duration=3.0, rng=np.random.default_rng(2), on_window=seen.append)
    assert measured.unsteady is not None
    assert len(seen) == MOST_WINDOWS
    assert measured.seconds == pytest.approx(3.0)
    assert measured.warm_up_s == pytest.approx(9.0)
