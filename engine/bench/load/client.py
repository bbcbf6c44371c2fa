"""One request from picture file to faces, with the time of each stage."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

from engine.bench.load.clock import Clock
from engine.bench.load.workload import Picture
from engine.images import decode_image
from engine.types import Image

WAITING, DECODE, QUEUEING = "waiting", "decode", "queueing"


class Request(Protocol):
    """A future of faces, such as engine.runtime.queue.Request; the properties are set once it is done."""

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds of each stage of its batch, and of the queueing before."""

    @property
    def batch_size(self) -> int:
        """Images of its batch."""

    def cancelled(self) -> bool:
        """Whether it never ran."""

    def exception(self) -> BaseException | None:
        """Return what went wrong."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn` with it once it is done, in the thread that answered it."""


class Server(Protocol):
    """What is measured: a detector, a queue before several, or a stand-in."""

    def submit(self, image: Image) -> Request:
        """Take an image."""


@dataclass(frozen=True)
class Answer:
    """One request, done.

    Attributes:
        number: of the request.
        intended: when it should have been sent, by the load's own rule.
        finished: when it was answered.
        stages: seconds by name, in the order in which they come; empty where it failed.
        batch_size: images that were run together with it, itself included.
        error: why it failed, or None.
    """

    number: int
    intended: float
    finished: float
    stages: Mapping[str, float]
    batch_size: int
    error: str | None = None

    @property
    def latency(self) -> float:
        """From the intended start: a request that could not be sent because of a stall has waited all the same."""
        return self.finished - self.intended

    @property
    def service(self) -> float:
        """What was spent working on it, not waiting."""
        return sum(seconds for stage, seconds in self.stages.items() if stage not in (WAITING, QUEUEING))


class Client:
    """Sends picture files; the answers come into its inbox."""

    def __init__(self, server: Server, pictures: Sequence[Picture], clock: Clock, executor: Executor) -> None:
        """Make a client.

        Args:
            server: to be measured.
            pictures: to be sent in turn, over and over.
            clock: that stages and answers are timed with.
            executor: decodes the files; none of its threads does anything else.
        """
        self.inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._server, self._pictures, self._clock, self._executor = server, pictures, clock, executor

    def picture(self, number: int) -> Picture:
        """Return what request `number` sends."""
        return self._pictures[number % len(self._pictures)]

    def send(self, number: int, intended: float) -> None:
        """Send a request that should have gone out at `intended`."""
        self._executor.submit(self._serve, number, intended)

    def _serve(self, number: int, intended: float) -> None:
        begin = self._clock.now()
        try:
            image = decode_image(self.picture(number).content)
            decoded = self._clock.now()
            request = self._server.submit(image)
        except Exception as error:  # whatever it is, it is this request's, and the others go on
            self._fail(number, intended, error)
            return
        before = {WAITING: begin - intended, DECODE: decoded - begin}
        request.add_done_callback(lambda done: self._receive(number, intended, before, done))

    def _receive(self, number: int, intended: float, before: Mapping[str, float], request: Request) -> None:
        finished = self._clock.now()
        error = RuntimeError("was cancelled") if request.cancelled() else request.exception()
        if error is not None:
            self._fail(number, intended, error)
            return
        stages = {**before, **request.stages}
        self.inbox.put(Answer(number, intended, finished, stages, request.batch_size))

    def _fail(self, number: int, intended: float, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.inbox.put(Answer(number, intended, self._clock.now(), {}, 0, reason))
