"""Requests over the network, whose stages are the server's and the way to it and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from engine.bench.load.client import NETWORK, WAITING, Answer, Client
from engine.bench.load.clock import Clock
from engine.bench.load.generator import ClosedLoop, Load
from engine.bench.load.workload import Picture
from engine.bench.remote.server import RemoteServer, Totals

MOST_CALLERS = 512
"""Threads that send the requests of an open loop, each waiting for its answer. Further requests wait in the client."""


class RemoteClient(Client):
    """Sends picture files to a server over the network, from as many threads as the executor has."""

    def __init__(self, server: RemoteServer, pictures: Sequence[Picture], clock: Clock, executor: Executor) -> None:
        """Make a client; see Client. The executor's threads wait for answers."""
        super().__init__(pictures, clock, executor)
        self._server = server
        self._before = server.totals()

    def settled(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """Give the answers the mean stages of a server that tells totals only."""
        after = self._server.totals()
        if self._before is None or after is None or after.requests <= self._before.requests:
            return answers
        return with_mean_stages(answers, self._before, after)

    def _serve(self, number: int, intended: float) -> None:
        begin = self.clock.now()
        try:
            reply = self._server.ask(self.picture(number).content)
        except Exception as error:  # one request fails, the others go on
            self._fail(number, intended, error)
            return
        finished = self.clock.now()
        rest = max(finished - begin - sum(reply.stages.values()), 0.0)
        stages = {WAITING: begin - intended, **reply.stages, NETWORK: rest}
        self._succeed(number, intended, finished, stages, reply.batch_size)


def with_mean_stages(answers: Sequence[Answer], before: Totals, after: Totals) -> list[Answer]:
    """Split each answer's time into a server's mean stages and the rest, whose mean is then right."""
    requests = after.requests - before.requests
    means = {name: (seconds - before.seconds[name]) / requests for name, seconds in after.seconds.items()}
    return [
        answer
        if answer.error is not None
        else replace(
            answer,
            stages={
                WAITING: answer.stages[WAITING],
                **means,
                NETWORK: answer.stages[NETWORK] - sum(means.values()),
            },
        )
        for answer in answers
    ]


@contextmanager
def remote_client(
    server: RemoteServer, _: int, pictures: Sequence[Picture], clock: Clock, load: Load
) -> Iterator[RemoteClient]:
    """Open a client with the threads that a load needs; see Contestant.connect."""
    threads = int(load.value) if isinstance(load, ClosedLoop) else MOST_CALLERS
    executor = ThreadPoolExecutor(threads, "bench-caller")
    try:
        yield RemoteClient(server, pictures, clock, executor)
    finally:
        executor.shutdown(cancel_futures=True)  # requests that have not been sent are cancelled
        server.close(ended=True)
