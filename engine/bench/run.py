"""Runs all engines under all loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from engine.bench.analysis.points import Engine, Point, make_point
from engine.bench.load.client import Client, QueueClient, Server
from engine.bench.load.clock import Clock
from engine.bench.load.generator import ClosedLoop, Load, OpenLoop
from engine.bench.load.measure import measure
from engine.bench.load.resources import Sampler
from engine.bench.load.windows import Window
from engine.bench.load.workload import Picture
from engine.errors import InvalidArgumentError
from engine.runtime.queue import BatchQueue

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        loads: closed loops and open loops, at least one.
        batches: batch limits, at least one; None is the engine's own.
        duration: seconds of each measurement.
        decode_threads: number of threads that decode picture files.
        seed: of the arrivals.
    """

    loads: Sequence[Load]
    batches: Sequence[int | None]
    duration: float
    decode_threads: int
    seed: int

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a number that is out of range, or if there is no load."""
        closed, rates = ([load.value for load in self.loads if isinstance(load, k)] for k in (ClosedLoop, OpenLoop))
        batches, seconds = [batch for batch in self.batches if batch is not None], [self.duration]
        _check("concurrency", closed, "integers from 1", lambda value: value >= 1)
        _check("rate", rates, "finite numbers above 0", lambda value: 0 < value < float("inf"))
        _check("batch", batches, "integers from 1", lambda value: value >= 1)
        _check("duration", seconds, "a finite number of seconds above 0", lambda value: 0 < value < float("inf"))
        _check("decode threads", [self.decode_threads], "an integer from 1", lambda value: value >= 1)
        _check("seed", [self.seed], "an integer from 0", lambda value: value >= 0)
        if not self.loads:
            raise InvalidArgumentError("there is no load: give a concurrency or a rate")


@dataclass(frozen=True)
class Contestant:
    """An engine, or a server over the network, that takes part in a run.

    Attributes:
        engine: describes it.
        max_batch: the largest batch that it can run; 0 for a server, whose batches are its own.
        connect: opens a client for a batch limit, these pictures and this load.
    """

    engine: Engine
    max_batch: int
    connect: Callable[[int, Sequence[Picture], Clock, Load], AbstractContextManager[Client]]


@contextmanager
def serve(detector: TRTRetinaFace, max_batch: int, *, max_delay: float, contexts: int) -> Iterator[Server]:
    """Open a queue before a detector that runs up to `contexts` batches concurrently, each on a clone of its own."""
    with ExitStack() as stack:
        clones = [stack.enter_context(detector.clone()) for _ in range(contexts - 1)]
        queue = BatchQueue([detector, *clones], max_batch=max_batch, max_delay=max_delay)
        stack.callback(queue.close, cancel=True)  # pending requests are cancelled
        yield queue


@contextmanager
def queue_client(
    serve: Callable[[int], AbstractContextManager[Server]],
    decode_threads: int,
    limit: int,
    pictures: Sequence[Picture],
    clock: Clock,
    _: Load,
) -> Iterator[QueueClient]:
    """Open a client of a server in this process, which gets the given batch limit; see Contestant.connect."""
    with serve(limit) as server, _decoders(decode_threads) as executor:
        yield QueueClient(server, pictures, clock, executor)


def run(
    contestants: Sequence[Contestant],
    pictures: Sequence[Picture],
    plan: Plan,
    *,
    on_point: Callable[[Engine, Load, int], None] = lambda engine, load, batch: None,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Iterator[Point]:
    """Yield a point for each batch limit, load and engine.

    Under each load all engines are measured one after the other, so that a slow drift of the machine affects all of
    them alike.

    Args:
        contestants: the engines.
        pictures: to send.
        plan: the loads.
        on_point: called before each measurement with the engine, the load and the batch limit.
        on_window: called at the end of each window.
    """
    clock = Clock()
    for contestant, load, limit in points_of(contestants, plan):
        on_point(contestant.engine, load, limit)
        with (
            contestant.connect(limit, pictures, clock, load) as client,
            Sampler(clock, contestant.engine.device) as sampler,
        ):
            rng = np.random.default_rng(plan.seed)  # equal arrivals for all engines
            measured = measure(client, load, duration=plan.duration, rng=rng, on_window=on_window)
        usage = sampler.usage(measured.begin, measured.end)
        decode_threads = plan.decode_threads if contestant.max_batch else 0
        yield make_point(contestant.engine, limit, load, measured, usage, decode_threads)


def check_memory(plan: Plan, pictures: Sequence[Picture], available: int) -> None:
    """Refuse a closed loop whose decoded pictures do not fit into memory.

    Args:
        plan: the loads.
        pictures: to send.
        available: bytes of memory.

    Raises:
        InvalidArgumentError: a concurrency needs more memory than is available.
    """
    each = sum(picture.decoded_bytes for picture in pictures) / len(pictures)
    for load in plan.loads:
        if isinstance(load, ClosedLoop) and load.value * each > available:
            raise InvalidArgumentError(
                f"concurrency is {load.value}: that many decoded pictures take {load.value * each / 2**20:.0f} MiB, "
                f"and {available / 2**20:.0f} MiB of memory are available"
            )


@contextmanager
def _decoders(threads: int) -> Iterator[Executor]:
    executor = ThreadPoolExecutor(threads, "bench-decode")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)  # decodes that have not started are cancelled


def points_of(contestants: Sequence[Contestant], plan: Plan) -> list[tuple[Contestant, Load, int]]:
    """Return the engine, the load and the batch limit of each point, in the order of measuring.

    Raises:
        InvalidArgumentError: a batch limit is more than an engine was built for.
    """
    points = []
    for batch, load, contestant in product(plan.batches, plan.loads, contestants):
        if not contestant.max_batch and batch != plan.batches[0]:
            continue  # the options do not change what a server does
        limit = contestant.max_batch if batch is None or not contestant.max_batch else batch
        if limit > contestant.max_batch:
            raise InvalidArgumentError(
                f"batch is {batch}, {contestant.engine.name} was built for up to {contestant.max_batch}"
            )
        points.append((contestant, load, limit))
    return points


def _check(name: str, values: Sequence[float], expected: str, is_good: Callable[[float], bool]) -> None:
    for value in values:
        if not is_good(value):
            raise InvalidArgumentError(f"{name} is {value:g}, expected {expected}")
