"""Verdicts in words, with evidence: the bottleneck of each engine, and disturbances of the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.bench.load.client import DECODE, NETWORK, QUEUEING, WAITING
from engine.bench.load.generator import ClosedLoop, OpenLoop
from engine.bench.load.windows import backlog

if TYPE_CHECKING:
    from engine.bench.analysis.points import Point

BUSY = 0.85
"""A resource that is busy for at least this share of the time is a bottleneck."""
_NOISE = 0.1
_SAME = 0.05  # throughputs within this relative difference count as equal
_GAPS = 0.03
_HEAVIER = 1.5  # a load this many times another one gives more throughput, unless the engine is at its limit
_GROUPS = {
    "preprocessing-bound": (DECODE, "letterbox"),
    "transfer-bound": ("h2d", "d2h"),
    "network-bound": ("network",),
    "post-processing-bound": ("post-processing", "undo letterbox"),
    "protocol-bound": (NETWORK,),
}


@dataclass(frozen=True)
class Verdict:
    """One conclusion.

    Attributes:
        kind: "preprocessing-bound", "transfer-bound", "network-bound", "post-processing-bound", "protocol-bound",
            "enqueue-bound", "largest stage", "overloaded", "unsteady", "unstable clock", "noise", "late generator" or
            "gaps".
        engine: name of the engine.
        load: label of the point.
        evidence: the numbers behind it.
    """

    kind: str
    engine: str
    load: str
    evidence: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"{self.engine}, {self.load}: {self.kind}: {self.evidence}"


def verdicts(points: Sequence[Point]) -> tuple[Verdict, ...]:
    """Judge a run: each engine's bottleneck, if a load reached its limit, and each point's disturbances."""
    found: list[Verdict] = []
    for engine in dict.fromkeys(point.engine for point in points):
        own = [point for point in points if point.engine == engine and point.stages]
        if own:
            found.append(_bound(own))
    for point in points:
        found += (Verdict(kind, point.engine, label(point), text) for kind, text in _disturbances(point))
    return tuple(found)


def label(point: Point) -> str:
    """Name a point among the points of its engine."""
    return f"{point.load.label()}, batch up to {point.batch}" if point.batch else point.load.label()


def _bound(points: Sequence[Point]) -> Verdict:
    """Name the bottleneck of an engine at its limit, or its largest stage if no load reached the limit."""
    at_limit = _at_limit(points)
    point = at_limit or max(points, key=lambda point: point.measured.throughput)
    name, place = point.engine, label(point)
    if (evidence := _decoders(point)) is not None:
        return Verdict("preprocessing-bound", name, place, evidence)
    groups = _groups(point)
    kind, stages = max(groups.items(), key=lambda entry: sum(entry[1].values()))
    whole = sum(sum(group.values()) for group in groups.values())
    parts = " and ".join(f"{stage} {milliseconds:.3g} ms" for stage, milliseconds in stages.items())
    evidence = f"{parts} of {whole:.3g} ms of work on a request ({sum(stages.values()) / whole:.0%})"
    if at_limit is None:
        return Verdict("largest stage", name, place, f"{evidence}; no load found the engine's limit")
    if kind == "network-bound" and (pauses := _pauses(point)) is not None:
        return Verdict("enqueue-bound", name, place, pauses)
    return Verdict(kind, name, place, evidence)


def _at_limit(points: Sequence[Point]) -> Point | None:
    """Return the heaviest load that reached the engine's limit; None if no load did."""
    most = max(point.measured.throughput for point in points)
    limits = [p for p in points if p.measured.throughput >= (1 - _SAME) * most and _is_limit(p, points)]
    # Concurrencies and rates cannot be compared. A closed loop is preferred: it is steady at the limit.
    closed = [point for point in limits if isinstance(point.load, ClosedLoop)]
    return max(closed or limits, key=lambda point: point.load.value, default=None)


def _is_limit(point: Point, others: Sequence[Point]) -> bool:
    """Whether more load gives no more throughput: an open loop's queue grows, or a higher concurrency gains nothing."""
    measured = point.measured
    if isinstance(point.load, OpenLoop):
        return measured.overload is not None or backlog(measured.windows) is not None
    for other in others:
        if isinstance(other.load, ClosedLoop) and other.batch == point.batch:
            light, heavy = sorted((point, other), key=lambda each: each.load.value)
            gain = heavy.measured.throughput - light.measured.throughput
            if heavy.load.value >= _HEAVIER * light.load.value and gain <= _SAME * light.measured.throughput:
                return True
    return False


def _groups(point: Point) -> dict[str, dict[str, float]]:
    """Group the mean times of the working stages by the bottleneck that they would be.

    On a CPU, decoding counts because it takes cores from the network. Beside a GPU it runs in parallel, and limits
    only if its threads are busy all the time, which _decoders checks. What a server over the network has is not known.
    """
    waiting = {WAITING, QUEUEING, *([DECODE] if point.device.startswith("cuda") else [])}
    working = {name: summary["mean"] for name, summary in point.stages.items() if name not in waiting}
    return {kind: {name: working[name] for name in names if name in working} for kind, names in _GROUPS.items()}


def _decoders(point: Point) -> str | None:
    """Return evidence that the decoding threads are busy all the time and so limit the throughput; else None."""
    if not point.decode_threads:
        return None
    busy = _decoding(point) / point.decode_threads
    if busy < BUSY:
        return None
    waited = point.stages[WAITING]["mean"]
    threads = point.decode_threads
    return f"{threads} decoding threads are busy {busy:.0%} of the time, and requests wait {waited:.3g} ms for one"


def _decoding(point: Point) -> float:
    """Return the mean number of threads that are decoding."""
    return point.stages[DECODE]["mean"] / 1e3 * point.measured.throughput


def _pauses(point: Point) -> str | None:
    """Return evidence that the GPU idles because one CPU core cannot enqueue work any faster; else None.

    NVML does not count copies as work, so this is valid only where the network takes the largest part.
    """
    gpu, cpu = point.usage.get("gpu_percent"), point.usage.get("cpu_cores")
    if gpu is None or cpu is None or gpu.mean / 100 >= BUSY:
        return None
    decoding = _decoding(point)
    if cpu.mean - decoding < BUSY:
        return None
    return (
        f"the GPU is busy {gpu.mean:.0f} % of the time while the process uses {cpu.mean - decoding:.2f} cores beside "
        f"the {decoding:.2f} that decode, and a heavier load brings no more throughput"
    )


def _disturbances(point: Point) -> Iterator[tuple[str, str]]:
    measured = point.measured
    if measured.overload is not None:
        yield "overloaded", f"sending stopped: {measured.overload}; {measured.throughput:.4g}/s were answered"
    elif measured.unsteady is not None:
        yield "unsteady", f"{measured.unsteady}; measured all the same, for {measured.seconds:.3g} s"
    for name, what in (("gpu_clock_mhz", "GPU"), ("cpu_clock_mhz", "CPU")):
        clock = point.usage.get(name)
        if clock is not None and clock.most - clock.least > _NOISE * clock.most:
            yield "unstable clock", f"the {what} clock varied from {clock.least:.0f} to {clock.most:.0f} MHz"
    other, own = point.usage.get("other_cores"), point.usage.get("cpu_cores")
    is_local = point.decode_threads > 0  # a server on this machine is another process
    if is_local and other is not None and own is not None and other.mean > _NOISE * max(own.mean, 1):
        yield "noise", f"other processes kept {other.mean:.2f} cores busy while this process used {own.mean:.2f}"
    late = _lateness(point)
    if late is not None and measured.overload is None and _decoders(point) is None:
        yield "late generator", late
    if point.accounted is not None and abs(point.accounted - 1) > _GAPS:
        yield "gaps", f"the stages add up to {point.accounted:.1%} of the latency: the rest was spent between stages"


def _lateness(point: Point) -> str | None:
    """Return evidence that requests were sent late although the decoding threads were free; else None."""
    if point.latency is None or WAITING not in point.stages:
        return None
    waited, whole = point.stages[WAITING]["mean"], point.latency["mean"]
    if waited <= _NOISE * whole:
        return None
    return (
        f"requests waited {waited:.3g} of {whole:.3g} ms before they were decoded: this machine cannot generate the "
        "load beside the engine"
    )
