"""The load generator against servers with known delays and loads with known results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from engine.bench.load.client import Answer, QueueClient, Server
from engine.bench.load.clock import Clock
from engine.bench.load.generator import ClosedLoop, Load, OpenLoop, Traffic, poisson_arrivals
from engine.bench.load.measure import Measurement, measure
from engine.bench.run import Plan, check_memory
from engine.errors import InvalidArgumentError
from engine.runtime.queue import BatchQueue
from engine.types import Image
from tests.support.bench.simulation import (
    PICTURES,
    AtOnce,
    BlockingServer,
    QueueingServer,
    Request,
    SleepingDetector,
    VirtualClock,
)

SERVICE = 2.0**-6  # sums of it are exact


def simulate(kind: type[QueueingServer] | type[BlockingServer], load: Load, duration: float) -> Measurement:
    clock = VirtualClock()
    server: Server = kind(clock, SERVICE)
    return measure(
        QueueClient(server, PICTURES, clock, AtOnce()), load, duration=duration, rng=np.random.default_rng(3)
    )


@pytest.mark.parametrize("kind", [QueueingServer, BlockingServer])
@pytest.mark.parametrize("utilisation", [0.4, 0.7])
def test_an_open_loop_sees_the_queue_that_theory_predicts(
    kind: type[QueueingServer] | type[BlockingServer], utilisation: float
) -> None:
    # M/D/1: with service time s and a Poisson process of rate u/s the mean wait is u s / (2 (1 - u)). If submit()
    # blocks, requests wait before it: a latency from the time of sending would not include that.
    measured = simulate(kind, OpenLoop(utilisation / SERVICE), duration=1000)
    predicted = utilisation * SERVICE / (2 * (1 - utilisation))
    assert np.mean(measured.latencies) - SERVICE == pytest.approx(predicted, rel=0.1)
    assert measured.unsteady is None
    assert measured.throughput == pytest.approx(utilisation / SERVICE, rel=0.03)
    waited = [answer.stages["waiting"] + answer.stages["queueing"] for answer in measured.good]
    assert np.mean(waited) == pytest.approx(predicted, rel=0.1)
    # The stages account for the whole latency.
    assert sum(sum(answer.stages.values()) for answer in measured.good) == pytest.approx(sum(measured.latencies))


def test_latencies_from_the_moment_of_sending_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # With coordinated omission put in on purpose the test above would fail.
    send = QueueClient.send
    monkeypatch.setattr(QueueClient, "send", lambda self, number, intended: send(self, number, self.clock.now()))
    utilisation = 0.7
    measured = simulate(BlockingServer, OpenLoop(utilisation / SERVICE), duration=100)
    assert measured.latencies == pytest.approx([SERVICE] * len(measured.latencies))


@pytest.mark.parametrize("kind", [QueueingServer, BlockingServer])
def test_a_closed_loop_sees_no_queue(kind: type[QueueingServer] | type[BlockingServer]) -> None:
    # At concurrency 1 no request waits for another, though the server is busier than in the cases above.
    measured = simulate(kind, ClosedLoop(1), duration=20)
    assert measured.latencies == pytest.approx([SERVICE] * 1280)
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)


def test_a_closed_loop_waits_for_the_requests_before_it() -> None:
    measured = simulate(QueueingServer, ClosedLoop(4), duration=20)
    assert measured.latencies == pytest.approx([4 * SERVICE] * len(measured.latencies))
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)
    assert measured.batches() == {1: 1280}


def test_an_open_loop_sees_a_stall() -> None:
    # A blocking server hangs for one second: requests that arrive in it wait for half a second in the mean.
    clock = VirtualClock()
    server = BlockingServer(clock, 1e-9)
    client = QueueClient(server, PICTURES, clock, AtOnce())
    traffic = Traffic(client, OpenLoop(100), np.random.default_rng(0), max_delay=math.inf)
    traffic.run_until(10)
    clock.sleep(1)
    traffic.run_until(20)
    hit = [answer.latency for answer in traffic.answers if answer.latency > 1e-6]
    assert len(hit) == pytest.approx(100, abs=30)
    assert max(hit) == pytest.approx(1, abs=0.05)
    assert np.mean(hit) == pytest.approx(0.5, abs=0.06)


def serve_in_real_time(load: Load, seconds: float, seed: int) -> tuple[list[Answer], list[float]]:
    """Put a load on the product's own queue in real time; return the answers and the detector's service times."""
    clock, detector = Clock(), SleepingDetector(0.025)
    with BatchQueue([detector], max_batch=1, max_delay=0) as server, ThreadPoolExecutor(1) as executor:
        client = QueueClient(server, PICTURES, clock, executor)
        traffic = Traffic(client, load, np.random.default_rng(seed), max_delay=10)
        traffic.run_until(clock.now() + seconds)
        traffic.drain(clock.now() + 10)
    return sorted(traffic.answers, key=lambda answer: answer.number), detector.took


def delay(answer: Answer) -> float:
    return answer.latency - answer.stages["network"]


def lindley(arrivals: Iterable[float], took: Sequence[float]) -> NDArray[np.float64]:
    """Return how long each request waits for the requests before it (Lindley's recursion)."""
    free, delays = 0.0, []
    for arrival, seconds in zip(arrivals, took, strict=False):
        begin = max(free, arrival)
        delays.append(begin - arrival)
        free = begin + seconds
    return np.array(delays)


def test_in_real_time_the_queue_delays_as_lindleys_recursion_says() -> None:
    # The closed form needs many requests. The recursion is exact for few ones with known arrivals and service times.
    rate, seed = 30, 5  # of the 40/s that the detector can do
    for _ in range(4):
        answers, took = serve_in_real_time(OpenLoop(rate), 2.5, seed)
        delays = lindley(poisson_arrivals(0, rate, np.random.default_rng(seed)), took)
        predicted = float(delays.mean())
        assert len(answers) == len(delays) > 50
        assert predicted > 0.3 * np.mean(took)  # there is a queue to be seen
        # Thread switches take time too, sometimes a lot on a shared machine. The median is robust against that, the
        # mean is not.
        excess = np.median([delay(answer) for answer in answers] - delays)
        assert excess >= -0.01 * predicted
        # At concurrency 1 the detector is always busy, and no request waits for another.
        closed, _ = serve_in_real_time(ClosedLoop(1), 0.75, seed)
        assert len(closed) > 10
        alone = np.median([delay(answer) for answer in closed])
        if max(excess, alone) <= 0.1 * predicted:
            break
    else:  # others only ever add to it, so one quiet moment is enough
        pytest.fail(
            f"four times requests were delayed by over 10 % more than predicted, at last by {excess:.2g} s, or "
            f"{alone:.2g} s one at a time"
        )


def test_arrivals_are_a_poisson_process() -> None:
    arrivals = np.array(list(itertools.islice(poisson_arrivals(5.0, 40.0, np.random.default_rng(1)), 5000)))
    gaps = np.diff(arrivals, prepend=5.0)
    assert stats.kstest(gaps, stats.expon(scale=1 / 40).cdf).pvalue > 0.01
    # Independent: no rank correlation between neighbours.
    assert stats.spearmanr(gaps[1:], gaps[:-1]).pvalue > 0.01


def test_an_overload_is_reported() -> None:
    measured = simulate(QueueingServer, OpenLoop(1.3 / SERVICE), duration=50)
    assert measured.unsteady is not None
    assert "arrive faster than they are answered" in measured.unsteady
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)


def test_sending_stops_when_it_is_too_late() -> None:
    measured = simulate(BlockingServer, OpenLoop(20 / SERVICE), duration=5)
    assert measured.overload is not None
    assert "late" in measured.overload
    assert measured.unsteady == measured.overload
    assert max(measured.latencies) >= 5


def test_waiting_pictures_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bench.load.generator.MAX_BACKLOG_BYTES", 3 * 100)  # the pictures have one pixel
    measured = simulate(QueueingServer, OpenLoop(2 / SERVICE), duration=50)
    assert measured.overload is not None
    assert measured.overload.startswith("101 requests were unanswered")


def test_a_closed_loop_is_never_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a closed loop with large pictures the backlog is the concurrency, not an overload.
    monkeypatch.setattr("engine.bench.load.generator.MAX_BACKLOG_BYTES", 3 * 100)
    measured = simulate(QueueingServer, ClosedLoop(256), duration=50)
    assert (measured.overload, measured.unsteady) == (None, None)
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)


def test_a_concurrency_beyond_the_memory_is_refused() -> None:
    plan = Plan([ClosedLoop(4), ClosedLoop(256), OpenLoop(1e6)], [None], 1.0, decode_threads=1, seed=0)
    pictures = [replace(PICTURES[0], size=size) for size in ((1080, 1920), (360, 640))]  # 3.3 MiB in the mean
    check_memory(plan, pictures, 1 << 30)
    with pytest.raises(InvalidArgumentError, match=r"concurrency is 256: .* take 844 MiB, and 512 MiB of memory"):
        check_memory(plan, pictures, 512 << 20)


class Unreliable:
    """Fails every third request immediately and every fifth later, and never answers the seventh."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._count = clock, 0

    def submit(self, image: Image) -> Request:
        self._count += 1
        request = Request()
        if self._count % 3 == 0:
            raise ValueError("third")
        if self._count % 5 == 0:
            self._clock.at(self._clock.now() + 0.01, lambda: request.set_exception(OSError("fifth")))
        elif self._count % 7:
            self._clock.at(self._clock.now() + 0.01, lambda: request.answer(0.0, 0.01))
        return request


def test_failures_are_counted_and_the_others_go_on() -> None:
    clock = VirtualClock()
    client = QueueClient(Unreliable(clock), PICTURES, clock, AtOnce())
    measured = measure(client, OpenLoop(50), duration=10, rng=np.random.default_rng(0))
    numbers = np.array([answer.number + 1 for answer in measured.answers])
    assert {answer.error for answer in measured.failed} == {"ValueError: third", "OSError: fifth"}
    assert len(measured.failed) == np.sum((numbers % 3 == 0) | (numbers % 5 == 0))
    assert len(measured.unanswered) == np.sum((numbers % 7 == 0) & (numbers % 3 > 0) & (numbers % 5 > 0)) > 0
    assert len(measured.good) == len(numbers) - len(measured.failed) - len(measured.unanswered)
    # An unanswered request counts with the time until it was given up.
    assert len(measured.latencies) == len(measured.good) + len(measured.unanswered)
    assert min(answer.latency for answer in measured.unanswered) >= 10
