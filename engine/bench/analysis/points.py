"""Points of a run: the summary of one engine under one load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.bench.analysis.accuracy import Accuracy
from engine.bench.analysis.statistics import Summary, summarise
from engine.bench.load.generator import Load
from engine.bench.load.measure import Measurement
from engine.bench.load.resources import Usage

SLICES = 20
"""Answers are counted in this many equal parts of the measurement, for the interval of a throughput ratio."""


REMOTE = "network"


@dataclass(frozen=True)
class Engine:
    """An engine that was measured.

    Attributes:
        name: in tables and plots.
        path: of its file; the address of a server over the network.
        device: "cpu" or "cuda:N"; REMOTE for such a server.
        details: model, precision and settings, in words.
        accuracy: against labels or a reference; None without either.
    """

    name: str
    path: str
    device: str
    details: str
    accuracy: Accuracy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "accuracy": None if self.accuracy is None else self.accuracy.to_dict()}


@dataclass(frozen=True)
class Point:
    """An engine under one load.

    Attributes:
        engine: name of the engine.
        device: of the engine.
        batch: batch limit; 0 if a server over the network has its own.
        load: on the engine.
        measured: the measurement.
        latency: from the intended start to the faces; None if nothing was answered.
        stages: time of each stage by its name, in order.
        usage: of CPU, memory and GPU, by the names of engine.bench.load.resources.Reading.
        decode_threads: number of threads that decoded picture files; 0 if a server over the network did.
    """

    engine: str
    device: str
    batch: int
    load: Load
    measured: Measurement
    latency: Summary | None
    stages: Mapping[str, Summary]
    usage: Mapping[str, Usage]
    decode_threads: int

    @property
    def accounted(self) -> float | None:
        """Sum of the stages divided by the latency; 1 if no time passes between the stages."""
        good = self.measured.good
        whole = sum(answer.latency for answer in good)
        return sum(sum(answer.stages.values()) for answer in good) / whole if whole else None

    @property
    def failures(self) -> dict[str, int]:
        """Number of failed requests of each kind."""
        return dict(Counter(str(answer.failure) for answer in self.measured.failed).most_common())

    @property
    def mean_batch(self) -> float | None:
        """Mean number of images in a batch."""
        batches = self.measured.batches()
        return sum(size * count for size, count in batches.items()) / sum(batches.values()) if batches else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        measured = self.measured
        finished = np.asarray(measured.finished) - measured.begin
        slices = np.histogram(finished, bins=SLICES, range=(0, measured.seconds))[0]
        return {
            "engine": self.engine,
            "device": self.device,
            "batch_limit": self.batch,
            "load": {"kind": self.load.kind, "value": self.load.value},
            "seconds": measured.seconds,
            "warm_up_s": measured.warm_up_s,
            "steady": measured.unsteady is None,
            "unsteady_because": measured.unsteady,
            "requests": len(measured.answers),
            "failed": len(measured.failed),
            "failures": self.failures,
            "errors": sorted({str(answer.error) for answer in measured.failed})[:5],
            "unanswered": len(measured.unanswered),
            "throughput_per_s": measured.throughput,
            "latency_ms": None if self.latency is None else self.latency.to_dict(),
            "stages_ms": {name: summary.to_dict() for name, summary in self.stages.items()},
            "stages_share_of_latency": self.accounted,
            "batches": {str(size): round(count, 3) for size, count in measured.batches().items()},
            "usage": {name: asdict(usage) for name, usage in self.usage.items()},
            "windows": [window.to_dict(measured.begin) for window in measured.windows],
            "latencies_ms": [round(seconds * 1e3, 4) for seconds in measured.latencies],
            "answers_per_slice": slices.tolist(),
        }


def make_point(
    engine: Engine, batch: int, load: Load, measured: Measurement, usage: Mapping[str, Usage], decode_threads: int
) -> Point:
    """Summarise a measurement as a point."""
    good = measured.good
    stages = {}
    for name in dict.fromkeys(name for answer in good for name in answer.stages):
        summary = summarise([answer.stages[name] for answer in good if name in answer.stages])
        if summary is not None:
            stages[name] = summary
    latency = summarise(measured.latencies)
    return Point(engine.name, engine.device, batch, load, measured, latency, stages, usage, decode_threads)
