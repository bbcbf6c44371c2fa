"""All engines under all loads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np

from engine.bench.analysis.points import Engine, Point, make_point
from engine.bench.load.client import Server
from engine.bench.load.clock import WallClock
from engine.bench.load.generator import ClosedLoop, Load, OpenLoop
from engine.bench.load.measure import measure
from engine.bench.load.resources import Sampler
from engine.bench.load.windows import Window
from engine.bench.load.workload import Picture
from engine.errors import InvalidArgumentError


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        loads: at least one.
        batches: limits of the batch; None is the engine's own.
        duration: seconds that each point is measured for.
        decode_threads: that decode picture files.
        seed: of the arrivals.
    """

    loads: Sequence[Load]
    batches: Sequence[int | None]
    duration: float
    decode_threads: int
    seed: int


@dataclass(frozen=True)
class Contestant:
    """An engine that can be asked to serve.

    Attributes:
        engine: what it is.
        max_batch: images that it can run at once.
        serve: opens a server with a limit of the batch.
    """

    engine: Engine
    max_batch: int
    serve: Callable[[int], AbstractContextManager[Server]]


def make_plan(
    concurrency: Sequence[int],
    rates: Sequence[float],
    batches: Sequence[int | None],
    duration: float,
    decode_threads: int | None = None,
    seed: int = 0,
) -> Plan:
    """Check what a user asked for.

    Raises:
        InvalidArgumentError: a number is out of range, or there is no load.
    """
    _check("concurrency", concurrency, "integers from 1", lambda value: value >= 1)
    _check("rate", rates, "finite numbers above 0", lambda value: 0 < value < float("inf"))
    _check("batch", [batch for batch in batches if batch is not None], "integers from 1", lambda value: value >= 1)
    _check("duration", [duration], "a finite number of seconds above 0", lambda value: 0 < value < float("inf"))
    threads = len(os.sched_getaffinity(0)) if decode_threads is None else decode_threads
    _check("decode threads", [threads], "an integer from 1", lambda value: value >= 1)
    _check("seed", [seed], "an integer from 0", lambda value: value >= 0)
    loads: list[Load] = [*(ClosedLoop(value) for value in concurrency), *(OpenLoop(value) for value in rates)]
    if not loads:
        raise InvalidArgumentError("there is no load: give a concurrency or a rate")
    return Plan(tuple(loads), tuple(batches) or (None,), duration, threads, seed)


def run(
    contestants: Sequence[Contestant],
    pictures: Sequence[Picture],
    plan: Plan,
    *,
    on_point: Callable[[Engine, Load, int], None] = lambda engine, load, batch: None,
    on_window: Callable[[Window], None] = lambda window: None,
) -> Iterator[Point]:
    """Yield a point for each batch limit, load and engine.

    Engines take turns under each load rather than loads with each engine: what a machine's mood does to them in the
    course of a run, it does to all.

    Args:
        contestants: the engines.
        pictures: to be sent.
        plan: the loads.
        on_point: called before each point with the engine, the load and the limit of the batch.
        on_window: called while it is measured.
    """
    clock = WallClock()
    for contestant, load, limit in points_of(contestants, plan):
        on_point(contestant.engine, load, limit)
        with (
            contestant.serve(limit) as server,
            _decoders(plan.decode_threads) as executor,
            Sampler(clock, contestant.engine.device) as sampler,
        ):
            measured = measure(
                server,
                load,
                pictures,
                duration=plan.duration,
                clock=clock,
                executor=executor,
                # Equal arrivals for all engines.
                rng=np.random.default_rng(plan.seed),
                on_window=on_window,
            )
        usage = sampler.usage(measured.begin, measured.end)
        yield make_point(contestant.engine, limit, load, measured, usage, plan.decode_threads)


def check_memory(plan: Plan, pictures: Sequence[Picture], available: int) -> None:
    """Refuse a closed loop whose pixels would not fit into memory.

    Args:
        plan: the loads.
        pictures: to be sent.
        available: bytes.

    Raises:
        InvalidArgumentError: one would not.
    """
    each = sum(picture.decoded_bytes for picture in pictures) / len(pictures)
    for load in plan.loads:
        if isinstance(load, ClosedLoop) and load.concurrency * each > available:
            raise InvalidArgumentError(
                f"concurrency is {load.concurrency}: so many decoded pictures take "
                f"{load.concurrency * each / 2**20:.0f} MiB, and {available / 2**20:.0f} MiB of memory are available"
            )


@contextmanager
def _decoders(threads: int) -> Iterator[Executor]:
    executor = ThreadPoolExecutor(threads, "bench-decode")
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)  # what was given up need not be decoded


def points_of(contestants: Sequence[Contestant], plan: Plan) -> list[tuple[Contestant, Load, int]]:
    """Return the engine, the load and the limit of the batch of each point, in the order of measuring.

    Raises:
        InvalidArgumentError: an engine cannot run so many images at once.
    """
    points = []
    for batch, load, contestant in product(plan.batches, plan.loads, contestants):
        limit = contestant.max_batch if batch is None else batch
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
