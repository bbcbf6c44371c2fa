"""Whether the load generator tells the truth: servers with known delays under loads with known answers."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import stats

from engine.bench.client import Client, Server
from engine.bench.clock import WallClock
from engine.bench.load import ClosedLoop, Load, OpenLoop, Traffic, poisson_arrivals
from engine.bench.measure import Measurement, measure
from engine.types import Image
from tests.bench.simulation import (
    PICTURES,
    AtOnce,
    BlockingServer,
    QueueingServer,
    Request,
    SlowedDetector,
    VirtualClock,
)

SERVICE = 2.0**-6  # sums of it are exact


def simulate(kind: type[QueueingServer] | type[BlockingServer], load: Load, duration: float) -> Measurement:
    clock = VirtualClock()
    server: Server = kind(clock, SERVICE)
    return measure(
        server,
        load,
        PICTURES,
        duration=duration,
        clock=clock,
        executor=AtOnce(),
        rng=np.random.default_rng(3),
    )


@pytest.mark.parametrize("kind", [QueueingServer, BlockingServer])
@pytest.mark.parametrize("utilisation", [0.4, 0.7])
def test_an_open_loop_sees_the_queue_that_theory_predicts(
    kind: type[QueueingServer] | type[BlockingServer], utilisation: float
) -> None:
    # A server that takes s for each of the requests of a Poisson process of rate u/s makes them wait
    # u s / (2 (1 - u)) in the mean (M/D/1). Where submit() blocks, they wait outside: a latency that begins when they
    # were sent would not show it.
    measured = simulate(kind, OpenLoop(utilisation / SERVICE), duration=1000)
    predicted = utilisation * SERVICE / (2 * (1 - utilisation))
    assert np.mean(measured.latencies) - SERVICE == pytest.approx(predicted, rel=0.1)
    assert measured.unsteady is None
    assert measured.throughput == pytest.approx(utilisation / SERVICE, rel=0.03)
    waited = [answer.stages["waiting"] + answer.stages["queueing"] for answer in measured.good]
    assert np.mean(waited) == pytest.approx(predicted, rel=0.1)
    # Every stage of time is somewhere.
    assert sum(sum(answer.stages.values()) for answer in measured.good) == pytest.approx(sum(measured.latencies))


def test_latencies_from_the_moment_of_sending_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Coordinated omission, put in on purpose: the test above must be able to fail.
    send = Client.send
    monkeypatch.setattr(Client, "send", lambda self, number, intended: send(self, number, self._clock.now()))
    utilisation = 0.7
    measured = simulate(BlockingServer, OpenLoop(utilisation / SERVICE), duration=100)
    assert measured.latencies == pytest.approx([SERVICE] * len(measured.latencies))


@pytest.mark.parametrize("kind", [QueueingServer, BlockingServer])
def test_a_closed_loop_does_not(kind: type[QueueingServer] | type[BlockingServer]) -> None:
    # One request at a time never meets another, though the server is busier than in any case above.
    measured = simulate(kind, ClosedLoop(1), duration=20)
    assert measured.latencies == pytest.approx([SERVICE] * 1280)
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)


def test_a_closed_loop_waits_for_the_requests_before_it() -> None:
    measured = simulate(QueueingServer, ClosedLoop(4), duration=20)
    assert measured.latencies == pytest.approx([4 * SERVICE] * len(measured.latencies))
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)
    assert measured.batches() == {1: 1280}


def test_an_open_loop_sees_a_stall() -> None:
    # A second in which a blocking server hangs hits all that arrive in it, half a second each in the mean.
    clock = VirtualClock()
    server = BlockingServer(clock, 1e-9)
    client = Client(server, PICTURES, clock, AtOnce())
    traffic = Traffic(client, OpenLoop(100), clock, np.random.default_rng(0), max_delay=math.inf)
    traffic.run_until(10)
    clock.sleep(1)
    traffic.run_until(20)
    hit = [answer.latency for answer in traffic.answers if answer.latency > 1e-6]
    assert len(hit) == pytest.approx(100, abs=30)
    assert max(hit) == pytest.approx(1, abs=0.05)
    assert np.mean(hit) == pytest.approx(0.5, abs=0.06)


def test_in_real_time_latencies_are_those_of_the_same_arrivals_one_after_the_other() -> None:
    # The closed form needs many requests; for few ones with known arrivals Lindley's recursion is exact.
    rate, seed = 120, 5
    clock = WallClock()
    server = SlowedDetector(0.005)
    with ThreadPoolExecutor(1) as executor:
        client = Client(server, PICTURES, clock, executor)
        begin = clock.now()
        traffic = Traffic(client, OpenLoop(rate), clock, np.random.default_rng(seed), max_delay=10)
        traffic.run_until(begin + 2.5)
        traffic.drain(clock.now() + 10)
    server.close()
    arrivals = poisson_arrivals(0, rate, np.random.default_rng(seed))
    free, predicted = 0.0, []
    for arrival, took in zip(arrivals, server.took, strict=False):
        free = max(free, arrival) + took
        predicted.append(free - arrival)
    answers = sorted(traffic.answers, key=lambda answer: answer.number)
    assert len(answers) == len(predicted) > 200
    assert np.mean(predicted) > 1.2 * np.mean(server.took)  # there is a queue to be seen
    # Switching between threads takes time too, now and then a lot of it on a machine that others use: the median
    # request shows what is measured, the mean would show that.
    excess = np.median([answer.latency for answer in answers] - np.array(predicted)) / np.mean(predicted)
    assert -0.01 <= excess <= 0.1


def test_arrivals_are_a_poisson_process() -> None:
    arrivals = np.array(list(itertools.islice(poisson_arrivals(5.0, 40.0, np.random.default_rng(1)), 5000)))
    gaps = np.diff(arrivals, prepend=5.0)
    assert stats.kstest(gaps, stats.expon(scale=1 / 40).cdf).pvalue > 0.01
    # Independent of each other: no rank correlation between neighbours.
    assert stats.spearmanr(gaps[1:], gaps[:-1]).pvalue > 0.01


def test_what_comes_faster_than_it_is_answered_is_said_to() -> None:
    measured = simulate(QueueingServer, OpenLoop(1.3 / SERVICE), duration=50)
    assert measured.unsteady is not None
    assert "come faster than they are answered" in measured.unsteady
    assert measured.throughput == pytest.approx(1 / SERVICE, rel=0.01)


def test_a_generator_that_cannot_keep_up_gives_up() -> None:
    measured = simulate(BlockingServer, OpenLoop(20 / SERVICE), duration=5)
    assert measured.overload is not None
    assert "late" in measured.overload
    assert measured.unsteady == measured.overload
    assert max(measured.latencies) >= 5


def test_waiting_pictures_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bench.load.MAX_BACKLOG_BYTES", 3 * 100)  # the pictures have one pixel
    measured = simulate(QueueingServer, OpenLoop(2 / SERVICE), duration=50)
    assert measured.overload is not None
    assert measured.overload.startswith("101 requests were unanswered")


class Unreliable:
    """Fails every third request at once, every fifth later, and never answers the seventh."""

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
    measured = measure(
        Unreliable(clock),
        OpenLoop(50),
        PICTURES,
        duration=10,
        clock=clock,
        executor=AtOnce(),
        rng=np.random.default_rng(0),
    )
    numbers = np.array([answer.number + 1 for answer in measured.answers])
    assert {answer.error for answer in measured.failed} == {"ValueError: third", "OSError: fifth"}
    assert len(measured.failed) == np.sum((numbers % 3 == 0) | (numbers % 5 == 0))
    assert len(measured.unanswered) == np.sum((numbers % 7 == 0) & (numbers % 3 > 0) & (numbers % 5 > 0)) > 0
    assert len(measured.good) == len(numbers) - len(measured.failed) - len(measured.unanswered)
    # Who was never answered has waited for at least as long as was waited, and is not left out.
    assert len(measured.latencies) == len(measured.good) + len(measured.unanswered)
    assert min(answer.latency for answer in measured.unanswered) >= 10
