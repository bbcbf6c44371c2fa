"""Plots of a run, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.bench.analysis.points import Point
from engine.bench.load.generator import ClosedLoop
from engine.evaluate.report.figures import label, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS = 60


def plots(points: Sequence[Point]) -> dict[str, bytes]:
    """Return PNG files by title; none if nothing was answered."""
    answered = [point for point in points if point.latency is not None and point.stages]
    if not answered:
        return {}
    return {
        "Latency against load: median (line), 99 % (dashes)": png(_latency(answered)),
        "Mean time of each stage": png(_stages(answered)),
        "Latencies: share of requests that took longer": png(_histogram(answered)),
        "Batches by size": png(_batches(answered)),
    }


def _latency(points: Sequence[Point]) -> Figure:
    figure, panels = new_figure(2)
    for axes, is_closed in zip(panels, (True, False), strict=True):
        own = [point for point in points if isinstance(point.load, ClosedLoop) == is_closed]
        for engine, batch in dict.fromkeys((point.engine, point.batch) for point in own):
            line = sorted(
                (point for point in own if (point.engine, point.batch) == (engine, batch)),
                key=lambda point: point.load.value,
            )
            load = [point.measured.throughput if is_closed else point.load.value for point in line]
            name = f"{label(engine)}, batch up to {batch}" if batch else label(engine)
            (drawn,) = axes.plot(load, _latencies(line, "p50"), marker="o", label=name)
            axes.plot(load, _latencies(line, "p99"), marker="o", linestyle="--", color=drawn.get_color())
            if is_closed:
                for point, x, y in zip(line, load, _latencies(line, "p99"), strict=True):
                    axes.annotate(f"{point.load.value:g}", (x, y), fontsize=8, ha="center", va="bottom")
        title = "closed loop (numbers: concurrency)" if is_closed else "open loop"
        axes.set(title=title, xlabel="answered/s" if is_closed else "arriving/s", ylabel="latency in ms")
        axes.set_ylim(bottom=0)
        _finish(axes, bool(own))
    return figure


def _stages(points: Sequence[Point]) -> Figure:
    figure, (axes,) = new_figure(1)
    names = list(dict.fromkeys(name for point in points for name in point.stages))
    left = np.zeros(len(points))
    rows = range(len(points))
    for name in names:
        means = np.array([point.stages[name]["mean"] if name in point.stages else 0.0 for point in points])
        axes.barh(rows, means, left=left, label=name)
        left += means
    axes.set_yticks(rows, [_name(point) for point in points], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="ms per request")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _histogram(points: Sequence[Point]) -> Figure:
    figure, (left, right) = new_figure(2)
    series = {_name(point): np.array(point.measured.latencies) * 1e3 for point in points}
    least, most = (pick([pick(values) for values in series.values()]) for pick in (min, max))
    bins = np.geomspace(max(least, 1e-3), max(most, least * 1.01, 2e-3), _BINS).tolist()
    for name, values in series.items():
        left.hist(values, bins=bins, histtype="step", label=name)
        right.ecdf(values, complementary=True, label=name)
    left.set(xscale="log", xlabel="latency in ms", ylabel="requests")
    right.set(xscale="log", yscale="log", xlabel="latency in ms", ylabel="share that took longer")
    _finish(left, True)
    right.grid(alpha=0.3)
    return figure


def _batches(points: Sequence[Point]) -> Figure:
    figure, (axes,) = new_figure(1)
    sizes = sorted({size for point in points for size in point.measured.batches()})
    width = 0.8 / len(points)
    for index, point in enumerate(points):
        batches = point.measured.batches()
        total = sum(batches.values())
        places = np.arange(len(sizes)) + (index - (len(points) - 1) / 2) * width
        axes.bar(places, [batches.get(size, 0.0) / total for size in sizes], width, label=_name(point))
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set(xlabel="images in a batch", ylabel="share of batches")
    _finish(axes, True)
    return figure


def _latencies(points: Sequence[Point], measure: str) -> list[float]:
    return [point.latency[measure] for point in points if point.latency is not None]


def _name(point: Point) -> str:
    batch = f", batch {point.batch}" if point.batch else ""
    return f"{label(point.engine)}, {point.load.label()}{batch}"


def _finish(axes: Axes, has_lines: bool) -> None:
    axes.grid(alpha=0.3)
    if has_lines:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
