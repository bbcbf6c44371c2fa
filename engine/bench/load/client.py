"""One request, from picture file to faces, with the time of each stage."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

from engine.bench.load.clock import Clock
from engine.bench.load.workload import Picture
from engine.images import decode_image
from engine.types import Image

WAITING, DECODE, QUEUEING = "waiting", "decode", "queueing"
NETWORK = "network and protocol"
"""The way to a server and back: the latency without the server's own stages."""


class Request(Protocol):
    """A future of faces, such as engine.runtime.requests.Request. The properties are set when it is done."""

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds of queueing, then of each stage of its batch."""

    @property
    def batch_size(self) -> int:
        """Number of images in its batch."""

    def cancelled(self) -> bool:
        """Whether it was cancelled before it ran."""

    def exception(self) -> BaseException | None:
        """Return its error; None if it succeeded."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn` with this request when it is done, in the thread that answers it."""


class Server(Protocol):
    """The system under test: a detector, a queue before several detectors, or a test double."""

    def submit(self, image: Image) -> Request:
        """Accept an image."""


@dataclass(frozen=True)
class Answer:
    """A request that is done.

    Attributes:
        number: of the request.
        intended: its intended start: when the load's schedule says that it is sent.
        finished: when it was answered.
        stages: seconds by stage, in the order in which they come; empty if it failed.
        batch_size: number of images in its batch.
        error: why it failed; None if it succeeded.
        failure: the kind of error, by which failures are counted; None if it succeeded.
    """

    number: int
    intended: float
    finished: float
    stages: Mapping[str, float]
    batch_size: int
    error: str | None = None
    failure: str | None = None

    @property
    def latency(self) -> float:
        """Seconds from the intended start, so that a request that was sent late counts its whole delay."""
        return self.finished - self.intended

    @property
    def service(self) -> float:
        """Seconds of work on it, without waiting."""
        return sum(seconds for stage, seconds in self.stages.items() if stage not in (WAITING, QUEUEING))


class Client(ABC):
    """Sends picture files to a server and collects the answers.

    Attributes:
        clock: times stages and answers.
        inbox: receives the answers.
    """

    def __init__(self, pictures: Sequence[Picture], clock: Clock, executor: Executor) -> None:
        """Make a client.

        Args:
            pictures: to send in turn, over and over.
            clock: times stages and answers.
            executor: whose threads send the requests and do nothing else.
        """
        self.clock = clock
        self.inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._pictures, self._executor = pictures, executor

    def picture(self, number: int) -> Picture:
        """Return the picture of request `number`."""
        return self._pictures[number % len(self._pictures)]

    def send(self, number: int, intended: float) -> None:
        """Send a request whose intended start is `intended`."""
        self._executor.submit(self._serve, number, intended)

    def settled(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """Complete the measured answers with what is known only when all are there."""
        return answers

    @abstractmethod
    def _serve(self, number: int, intended: float) -> None:
        """Do a request, in a thread of the executor."""

    def _succeed(
        self, number: int, intended: float, finished: float, stages: Mapping[str, float], batch_size: int
    ) -> None:
        self.inbox.put(Answer(number, intended, finished, stages, batch_size))

    def _fail(self, number: int, intended: float, error: BaseException) -> None:
        kind = str(getattr(error, "failure", type(error).__name__))
        reason = str(error) if kind in str(error) else f"{kind}: {error}"
        self.inbox.put(Answer(number, intended, self.clock.now(), {}, 0, reason, kind))


class QueueClient(Client):
    """Sends picture files to a server in this process: the executor's threads decode them."""

    def __init__(self, server: Server, pictures: Sequence[Picture], clock: Clock, executor: Executor) -> None:
        """Make a client; see Client."""
        super().__init__(pictures, clock, executor)
        self._server = server

    def _serve(self, number: int, intended: float) -> None:
        begin = self.clock.now()
        try:
            image = decode_image(self.picture(number).content)
            decoded = self.clock.now()
            request = self._server.submit(image)
        except Exception as error:  # one request fails, the others go on
            self._fail(number, intended, error)
            return
        before = {WAITING: begin - intended, DECODE: decoded - begin}
        request.add_done_callback(lambda done: self._receive(number, intended, before, done))

    def _receive(self, number: int, intended: float, before: Mapping[str, float], request: Request) -> None:
        finished = self.clock.now()
        error = RuntimeError("was cancelled") if request.cancelled() else request.exception()
        if error is not None:
            self._fail(number, intended, error)
            return
        self._succeed(number, intended, finished, {**before, **request.stages}, request.batch_size)
