"""Makes points of a simulated benchmark run, with any resource usage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.bench.analysis.points import Engine, Point, make_point
from engine.bench.analysis.results import Results
from engine.bench.analysis.verdicts import verdicts
from engine.bench.load.client import QueueClient
from engine.bench.load.generator import ClosedLoop, Load
from engine.bench.load.measure import measure
from engine.bench.load.resources import Usage
from tests.support.bench.simulation import PICTURES, AtOnce, StagedServer, VirtualClock

CALM = {"cpu_cores": Usage(0.5, 0.4, 0.6), "other_cores": Usage(0.01, 0, 0.02)}
STAGES = {"letterbox": 0.001, "h2d": 0.001, "network": 0.006, "post-processing": 0.001, "d2h": 0.001}


def simulated_engine(name: str = "fp16", device: str = "cpu") -> Engine:
    """Return the description of an engine that does not exist."""
    return Engine(name, f"{name}.engine", device, "simulated")


def point(
    stages: Mapping[str, float] = STAGES,
    *,
    engine: Engine | None = None,
    load: Load | None = None,
    usage: Mapping[str, Usage] = CALM,
    duration: float = 4,
    gap: float = 0.0,
) -> Point:
    """Measure a simulated server; a request takes its stages one after the other, and `gap` seconds more."""
    clock = VirtualClock()
    load = load or ClosedLoop(1)
    client = QueueClient(StagedServer(clock, stages, gap), PICTURES, clock, AtOnce())
    measured = measure(client, load, duration=duration, rng=np.random.default_rng(0))
    return make_point(engine or simulated_engine(), 4, load, measured, usage, decode_threads=2)


def results(*points: Point) -> Results:
    """Return the results of a run with these points."""
    names = dict.fromkeys((entry.engine, entry.device) for entry in points)
    return Results(
        environment={"time": "now", "cpu": "simulated", "commit": "abc"},
        settings={"duration": 10.0},
        workload={"source": "dots", "pictures": 1, "bytes": 67, "sizes": [[1, 1]], "skipped": []},
        engines=tuple(simulated_engine(name, device) for name, device in names),
        points=points,
        verdicts=verdicts(points),
    )
