"""What bounds an engine, and whether its numbers can be trusted: in words, with the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from engine.bench.client import DECODE, QUEUEING, WAITING

if TYPE_CHECKING:
    from engine.bench.results import Point

BUSY = 0.85
"""From this share of its time on something is the bottleneck, not just used."""
_NOISE = 0.1
_SAME = 0.05  # throughputs that differ by less are the same
_GAPS = 0.03
_GROUPS = {
    "preprocessing-bound": (DECODE, "letterbox"),
    "transfer-bound": ("h2d", "d2h"),
    "network-bound": ("network",),
    "post-processing-bound": ("post-processing", "undo letterbox"),
}


@dataclass(frozen=True)
class Verdict:
    """One thing to know.

    Attributes:
        kind: "preprocessing-bound", "transfer-bound", "network-bound", "post-processing-bound", "enqueue-bound",
            "overloaded", "unsteady", "unstable clock", "noise", "late generator" or "gaps".
        engine: that it is said of.
        load: under which it was seen.
        evidence: the numbers that say so.
    """

    kind: str
    engine: str
    load: str
    evidence: str

    def to_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"{self.engine}, {self.load}: {self.kind}: {self.evidence}"


def verdicts(points: Sequence[Point]) -> tuple[Verdict, ...]:
    """Judge a run: for each engine what bounds it where it is at its limit, and for each point what disturbs it."""
    found: list[Verdict] = []
    for engine in dict.fromkeys(point.engine for point in points):
        own = [point for point in points if point.engine == engine and point.stages]
        if own:
            most = max(point.measured.throughput for point in own)
            saturated = [point for point in own if point.measured.throughput >= (1 - _SAME) * most]
            found.append(_bound(max(saturated, key=lambda point: point.load.value), own))
    for point in points:
        found += (Verdict(kind, point.engine, label(point), text) for kind, text in _disturbances(point))
    return tuple(found)


def label(point: Point) -> str:
    """Name a point among those of its engine."""
    return f"{point.load.label()}, batch up to {point.batch}"


def _bound(point: Point, others: Sequence[Point]) -> Verdict:
    for kind, evidence in (("preprocessing-bound", _decoders(point)), ("enqueue-bound", _enqueue(point, others))):
        if evidence is not None:
            return Verdict(kind, point.engine, label(point), evidence)
    working = {name: summary["mean"] for name, summary in point.stages.items() if name not in (WAITING, QUEUEING)}
    groups = {kind: {name: working[name] for name in names if name in working} for kind, names in _GROUPS.items()}
    kind, stages = max(groups.items(), key=lambda entry: sum(entry[1].values()))
    whole = sum(working.values())
    parts = " and ".join(f"{name} {milliseconds:.3g} ms" for name, milliseconds in stages.items())
    share = sum(stages.values()) / whole
    return Verdict(kind, point.engine, label(point), f"{parts} of {whole:.3g} ms of work on a request ({share:.0%})")


def _decoders(point: Point) -> str | None:
    """Say whether the threads that decode are busy all the time: then nothing behind them can be faster."""
    busy = point.stages[DECODE]["mean"] / 1e3 * point.measured.throughput / point.decode_threads
    if busy < BUSY:
        return None
    waited = point.stages[WAITING]["mean"]
    threads = point.decode_threads
    return f"{threads} decoding threads are busy {busy:.0%} of the time, and requests wait {waited:.3g} ms for one"


def _enqueue(point: Point, others: Sequence[Point]) -> str | None:
    """Say whether a GPU has pauses because one processor core cannot give it work any faster."""
    gpu, cpu = point.usage.get("gpu_percent"), point.usage.get("cpu_cores")
    if gpu is None or cpu is None or gpu.mean / 100 >= BUSY or cpu.mean < BUSY:
        return None
    fewer = [other for other in others if other.load.kind == point.load.kind and other.load.value < point.load.value]
    if not fewer or point.measured.throughput > (1 + _SAME) * max(other.measured.throughput for other in fewer):
        return None  # a heavier load still brings more: the GPU pauses for want of requests
    return (
        f"the GPU is busy {gpu.mean:.0f} % of the time while the process uses {cpu.mean:.2f} cores, and a heavier load "
        "brings no more throughput"
    )


def _disturbances(point: Point) -> Iterator[tuple[str, str]]:
    measured = point.measured
    if measured.overload is not None:
        yield "overloaded", f"sending was given up: {measured.overload}; {measured.throughput:.4g}/s were answered"
    elif measured.unsteady is not None:
        yield "unsteady", f"{measured.unsteady}; measured all the same, for {measured.seconds:.3g} s"
    for name, what in (("gpu_clock_mhz", "GPU"), ("cpu_clock_mhz", "CPU")):
        clock = point.usage.get(name)
        if clock is not None and clock.most - clock.least > _NOISE * clock.most:
            yield "unstable clock", f"the {what}'s went from {clock.least:.0f} to {clock.most:.0f} MHz"
    other, own = point.usage.get("other_cores"), point.usage.get("cpu_cores")
    if other is not None and own is not None and other.mean > _NOISE * max(own.mean, 1):
        yield "noise", f"other processes kept {other.mean:.2f} cores busy beside our {own.mean:.2f}"
    late = _lateness(point)
    if late is not None and measured.overload is None and _decoders(point) is None:
        yield "late generator", late
    if point.accounted is not None and abs(point.accounted - 1) > _GAPS:
        yield "gaps", f"the stages add up to {point.accounted:.1%} of the latency: the rest passed between them"


def _lateness(point: Point) -> str | None:
    """Say whether requests were sent late though the decoding threads had time."""
    if point.latency is None or WAITING not in point.stages:
        return None
    waited, whole = point.stages[WAITING]["mean"], point.latency["mean"]
    if waited <= _NOISE * whole:
        return None
    return (
        f"requests waited {waited:.3g} of {whole:.3g} ms before they were decoded: this machine cannot generate the "
        "load beside the engine"
    )
