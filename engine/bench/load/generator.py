"""When requests are sent: so many at once, or at random moments whether or not the server keeps up.

A closed loop sends the next request when one is answered: a server that stalls is spared the requests that users would
have sent meanwhile, and its latencies look better than anybody would find them. An open loop has its own schedule, and
a latency in it begins when the schedule says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.bench.load.client import Answer, Client
from engine.bench.load.clock import Clock

MAX_BACKLOG_BYTES = 1 << 30
"""Pixels of an open loop that may wait: what comes faster than it is answered would fill the memory otherwise."""


class Pace(Protocol):
    """Says when the next request is due."""

    def due(self, now: float, in_flight: int) -> float:
        """Return when the next request is to be sent; math.inf means not before an answer has come."""

    def sent(self) -> None:
        """The request that was due has been sent."""


@dataclass(frozen=True)
class ClosedLoop:
    """So many requests are under way at any time."""

    concurrency: int
    kind = "concurrency"

    @property
    def value(self) -> float:
        """The concurrency."""
        return self.concurrency

    def label(self) -> str:
        """Name it."""
        return f"{self.concurrency} at once"

    def pace(self, begin: float, rng: np.random.Generator) -> Pace:
        """Start it."""
        return _AtOnce(self.concurrency)


@dataclass(frozen=True)
class OpenLoop:
    """So many requests a second arrive at random, independently of each other and of the answers: a Poisson process."""

    rate: float
    kind = "rate"

    @property
    def value(self) -> float:
        """The rate."""
        return self.rate

    def label(self) -> str:
        """Name it."""
        return f"{self.rate:g}/s"

    def pace(self, begin: float, rng: np.random.Generator) -> Pace:
        """Start it."""
        return _Scheduled(poisson_arrivals(begin, self.rate, rng))


Load = ClosedLoop | OpenLoop


def poisson_arrivals(begin: float, rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield the moments of a Poisson process without end."""
    moment = begin
    while True:
        moment += float(rng.exponential(1 / rate))
        yield moment


class _AtOnce:
    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency

    def due(self, now: float, in_flight: int) -> float:
        return now if in_flight < self._concurrency else math.inf

    def sent(self) -> None:
        pass


class _Scheduled:
    def __init__(self, arrivals: Iterator[float]) -> None:
        self._arrivals = arrivals
        self._next = next(arrivals)

    def due(self, now: float, in_flight: int) -> float:
        return self._next

    def sent(self) -> None:
        self._next = next(self._arrivals)


class Traffic:
    """Keeps a load on a server, and gathers the answers.

    Attributes:
        answers: so far, in the order in which they came.
        overload: why sending stopped: the server is too far behind. None otherwise.
    """

    def __init__(self, client: Client, load: Load, clock: Clock, rng: np.random.Generator, max_delay: float) -> None:
        """Start the load's schedule; nothing is sent yet.

        Args:
            client: sends the requests.
            load: when.
            clock: by which time.
            rng: draws the arrivals.
            max_delay: seconds that sending may be behind the schedule.
        """
        self.answers: list[Answer] = []
        self.overload: str | None = None
        self._client, self._clock, self._max_delay = client, clock, max_delay
        self._pace = load.pace(clock.now(), rng)
        # A closed loop is never behind: what waits is what was asked for, however much that is.
        self._max_bytes = MAX_BACKLOG_BYTES if isinstance(load, OpenLoop) else math.inf
        self._in_flight: dict[int, float] = {}
        self._bytes = 0
        self._sent = 0

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not answered."""
        return len(self._in_flight)

    @property
    def sent(self) -> int:
        """Requests so far."""
        return self._sent

    def run_until(self, end: float) -> None:
        """Send all that is due before `end`, be it late, and receive answers until then; stop at an overload."""
        while self.overload is None:
            now = self._clock.now()
            due = self._pace.due(now, self.in_flight)
            if due <= now and due < end:
                self._send(due, now)
            elif now >= end:
                return
            else:
                self._receive(min(due, end))

    def drain(self, limit: float) -> None:
        """Receive the answers that are still to come, but wait no longer than until `limit`.

        What is unanswered then enters `answers` as a failure with the time that it has waited.
        """
        while self._in_flight and self._clock.now() < limit:
            self._receive(limit)
        now = self._clock.now()
        for number, intended in self._in_flight.items():
            self.answers.append(Answer(number, intended, now, {}, 0, UNANSWERED))

    def _send(self, due: float, now: float) -> None:
        if now - due > self._max_delay or self._bytes > self._max_bytes:
            self.overload = (
                f"{self.in_flight} requests were unanswered, their pixels took {self._bytes >> 20} MiB, and sending "
                f"was {now - due:.3g} s late"
            )
            return
        number = self._sent
        self._sent += 1
        self._in_flight[number] = due
        self._bytes += self._client.picture(number).decoded_bytes
        self._pace.sent()
        self._client.send(number, due)

    def _receive(self, until: float) -> None:
        answer = self._clock.receive(self._client.inbox, until)
        if answer is not None:
            del self._in_flight[answer.number]
            self._bytes -= self._client.picture(answer.number).decoded_bytes
            self.answers.append(answer)


UNANSWERED = "unanswered"
