"""Measures one server under one load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.bench.load.client import Answer, Client
from engine.bench.load.generator import UNANSWERED, Load, OpenLoop, Traffic
from engine.bench.load.windows import MOST_WINDOWS, WINDOWS, Window, unsteadiness

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Measurement:
    """The measured windows of one load.

    Attributes:
        begin: of the first measured window, by the clock.
        end: of the last one.
        windows: the measured ones.
        warm_up_s: seconds before them.
        unsteady: why they are not one steady state; None if they are.
        overload: why sending stopped before the end; None otherwise.
        answers: of the requests with an intended start in [begin, end), in that order, however late they came.
        finished: times in [begin, end) at which an answer came, sorted, whenever its intended start was.
    """

    begin: float
    end: float
    windows: tuple[Window, ...]
    warm_up_s: float
    unsteady: str | None
    overload: str | None
    answers: tuple[Answer, ...]
    finished: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Length of the measurement."""
        return self.end - self.begin

    @property
    def good(self) -> list[Answer]:
        """Answers without an error."""
        return [answer for answer in self.answers if answer.error is None]

    @property
    def failed(self) -> list[Answer]:
        """Answers with an error."""
        return [answer for answer in self.answers if answer.error not in (None, UNANSWERED)]

    @property
    def unanswered(self) -> list[Answer]:
        """Requests whose answer was no longer awaited; their latency is the time they had waited by then."""
        return [answer for answer in self.answers if answer.error == UNANSWERED]

    @property
    def latencies(self) -> list[float]:
        """Seconds of every request that did not fail, in the order of the intended starts."""
        return [answer.latency for answer in self.answers if answer.error in (None, UNANSWERED)]

    @property
    def throughput(self) -> float:
        """Images answered per second."""
        return len(self.finished) / self.seconds

    def batches(self) -> dict[int, float]:
        """Count the batches of each size; a batch that lies partly outside the measurement counts in part."""
        requests = Counter(answer.batch_size for answer in self.good if answer.batch_size)  # some servers do not say
        return {size: count / size for size, count in sorted(requests.items())}


def measure(
    client: Client,
    load: Load,
    *,
    duration: float,
    rng: np.random.Generator,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Measurement:
    """Put a load on a server until it was steady for `duration`, at most for four times that.

    Args:
        client: sends the requests to the server.
        load: decides when requests are sent.
        duration: seconds to measure, after the warm-up.
        rng: draws the arrivals.
        on_window: called at the end of each window.
    """
    clock = client.clock
    traffic = Traffic(client, load, rng, max_delay=duration)
    windows: list[Window] = []
    unsteady: str | None = None
    counted = 0
    begin = clock.now()
    while len(windows) < MOST_WINDOWS and traffic.overload is None:
        end = begin + duration / WINDOWS
        traffic.run_until(end)
        if traffic.overload is not None:
            end = max(clock.now(), begin + 1e-9)
        new, counted = traffic.answers[counted:], len(traffic.answers)
        service = np.array([answer.service for answer in new if answer.error is None])
        windows.append(Window(begin, end, service, traffic.sent, counted))
        on_window(windows[-1])
        begin = end
        if len(windows) > WINDOWS:
            unsteady = unsteadiness(windows[-WINDOWS:], is_open=isinstance(load, OpenLoop))
            if unsteady is None:
                break
    traffic.drain(clock.now() + duration + _PATIENCE_S)
    if traffic.overload is not None:
        unsteady = traffic.overload
    measured = _cut(traffic, windows, unsteady)
    return replace(measured, answers=tuple(client.settled(measured.answers)))


def _cut(traffic: Traffic, windows: list[Window], unsteady: str | None) -> Measurement:
    measured = tuple(windows[-WINDOWS:])
    begin, end = measured[0].begin, measured[-1].end
    return Measurement(
        begin=begin,
        end=end,
        windows=measured,
        warm_up_s=begin - windows[0].begin,
        unsteady=unsteady,
        overload=traffic.overload,
        answers=tuple(sorted((a for a in traffic.answers if begin <= a.intended < end), key=lambda a: a.number)),
        finished=tuple(sorted(a.finished for a in traffic.answers if a.error is None and begin <= a.finished < end)),
    )
