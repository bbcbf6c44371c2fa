"""The load generator: closed loops of a fixed concurrency, and open loops of a fixed rate.

A closed loop sends the next request when one is answered. While the server stalls, it sends nothing, so its latencies
are lower than users would see (coordinated omission). An open loop follows a schedule of its own; a latency begins at
the scheduled time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.bench.load.client import Answer, Client

MAX_BACKLOG_BYTES = 1 << 30
"""Limit of the decoded pictures of an open loop that wait: an overloaded server would fill the memory otherwise."""


@dataclass(frozen=True)
class ClosedLoop:
    """A fixed number of requests, `value`, is in flight."""

    value: int
    kind = "concurrency"

    def label(self) -> str:
        """Name the load."""
        return f"concurrency {self.value}"


@dataclass(frozen=True)
class OpenLoop:
    """Requests arrive at a mean rate of `value` per second as a Poisson process, independently of the answers."""

    value: float
    kind = "rate"

    def label(self) -> str:
        """Name the load."""
        return f"{self.value:g}/s"


Load = ClosedLoop | OpenLoop


def poisson_arrivals(begin: float, rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield the arrival times of an endless Poisson process."""
    moment = begin
    while True:
        moment += float(rng.exponential(1 / rate))
        yield moment


class Traffic:
    """Puts a load on a server and collects the answers.

    Attributes:
        answers: so far, in the order of arrival.
        sent: number of requests sent so far.
        overload: why sending stopped because the server fell too far behind; None otherwise.
    """

    def __init__(self, client: Client, load: Load, rng: np.random.Generator, max_delay: float) -> None:
        """Start the load's schedule; nothing is sent yet.

        Args:
            client: sends the requests.
            load: decides when.
            rng: draws the arrivals.
            max_delay: seconds that sending may be behind the schedule.
        """
        self.answers: list[Answer] = []
        self.sent = 0
        self.overload: str | None = None
        self._client, self._clock, self._load, self._max_delay = client, client.clock, load, max_delay
        self._arrivals = poisson_arrivals(self._clock.now(), load.value, rng)  # a closed loop does not look at them
        self._next = next(self._arrivals)
        # A closed loop cannot fall behind: its backlog is its concurrency.
        self._max_bytes = MAX_BACKLOG_BYTES if isinstance(load, OpenLoop) else math.inf
        self._in_flight: dict[int, float] = {}
        self._bytes = 0

    @property
    def in_flight(self) -> int:
        """Number of requests that were sent and are not answered."""
        return len(self._in_flight)

    def run_until(self, end: float) -> None:
        """Until `end`, send what is due, late or not, and receive answers; stop at an overload."""
        while self.overload is None:
            now = self._clock.now()
            due = self._due(now)
            if due <= now and due < end:
                self._send(due, now)
            elif now >= end:
                return
            else:
                self._receive(min(due, end))

    def drain(self, limit: float) -> None:
        """Receive the remaining answers, until `limit` at the latest.

        A request that is still unanswered enters `answers` as UNANSWERED, with the time that it has waited.
        """
        while self._in_flight and self._clock.now() < limit:
            self._receive(limit)
        now = self._clock.now()
        for number, intended in self._in_flight.items():
            self.answers.append(Answer(number, intended, now, {}, 0, UNANSWERED))

    def _due(self, now: float) -> float:
        """Return when to send the next request; math.inf means not before the next answer."""
        if isinstance(self._load, OpenLoop):
            return self._next
        return now if self.in_flight < self._load.value else math.inf

    def _send(self, due: float, now: float) -> None:
        if now - due > self._max_delay or self._bytes > self._max_bytes:
            self.overload = (
                f"{self.in_flight} requests were unanswered, their pixels took {self._bytes >> 20} MiB, and sending "
                f"was {now - due:.3g} s late"
            )
            return
        number = self.sent
        self.sent += 1
        self._in_flight[number] = due
        self._bytes += self._client.picture(number).decoded_bytes
        self._next = next(self._arrivals)
        self._client.send(number, due)

    def _receive(self, until: float) -> None:
        answer = self._clock.receive(self._client.inbox, until)
        if answer is not None:
            del self._in_flight[answer.number]
            self._bytes -= self._client.picture(answer.number).decoded_bytes
            self.answers.append(answer)


UNANSWERED = "unanswered"
