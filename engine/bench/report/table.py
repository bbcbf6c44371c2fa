"""The tables of a run, for the terminal and the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.bench.analysis.compare import Comparison
from engine.bench.analysis.points import Engine, Point
from engine.bench.analysis.statistics import MEASURES, Summary
from engine.metrics.agreement import Agreement

_NONE = "-"
UNRESOLVED = "A quantile in brackets has no request beyond it: measure for longer to resolve it."


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: of the table.
        header: title of each column.
        rows: cells of each row.
    """

    title: str
    header: list[str]
    rows: list[list[str]]

    def without_empty(self) -> Table:
        """Return the table without columns that are empty in all rows, such as those of the GPU on a CPU."""
        kept = [i for i in range(len(self.header)) if any(row[i] != _NONE for row in self.rows)]
        return Table(self.title, [self.header[i] for i in kept], [[row[i] for i in kept] for row in self.rows])


def latencies(points: Sequence[Point]) -> Table:
    """Return throughput and latency of each point."""
    rows = [
        [
            *_place(point),
            f"{point.measured.throughput:.1f}",
            *_measures(point.latency),
            "yes" if point.measured.unsteady is None else "NO",
        ]
        for point in points
    ]
    return Table("Latency in ms", [*_PLACE, "images/s", *MEASURES, "steady"], rows)


def usages(points: Sequence[Point]) -> Table:
    """Return the requests, batches and use of the machine at each point."""
    engines = len({point.engine for point in points})
    whose = f" (memory: of the process, which holds all {engines} engines)" if engines > 1 else ""
    header = [*_PLACE, "requests", "failed", "of which", "unanswered", "mean batch", *_USAGE.values()]
    rows = [
        [
            *_place(point),
            str(len(point.measured.answers)),
            str(len(point.measured.failed)),
            ", ".join(f"{count} {kind}" for kind, count in point.failures.items()) or _NONE,
            str(len(point.measured.unanswered) or _NONE),
            _number(point.mean_batch, ".3g"),
            *(_usage(point, name) for name in _USAGE),
        ]
        for point in points
    ]
    return Table(f"Requests and resources{whose}", header, rows).without_empty()


def stage_means(points: Sequence[Point]) -> Table:
    """Return the mean time of each stage at each point, and their sum as a share of the latency."""
    names = list(dict.fromkeys(name for point in points for name in point.stages))
    rows = []
    for point in points:
        means = [f"{point.stages[name]['mean']:.2f}" if name in point.stages else _NONE for name in names]
        rows.append([*_place(point), *means, _number(point.accounted, ".1%")])
    return Table("Mean time of each stage in ms", [*_PLACE, *names, "sum / latency"], rows)


def stage_quantiles(points: Sequence[Point]) -> Table:
    """Return all measures of each stage at each point."""
    rows = [[*_place(point), name, *_measures(summary)] for point in points for name, summary in point.stages.items()]
    return Table("Time of each stage in ms", [*_PLACE, "stage", *MEASURES], rows)


def accuracies(engines: Sequence[Engine]) -> Table | None:
    """Return the accuracy of each engine; None if it was not measured."""
    measured = [(engine.name, engine.accuracy) for engine in engines if engine.accuracy is not None]
    if not measured:
        return None
    header = ["engine", "pictures", "labelled faces", "average precision"]
    header += ["reference's faces", "of them found", "mean IoU", "mean change of score"]
    rows = [
        [
            name,
            str(accuracy.pictures),
            _number(accuracy.labels, "d"),
            _number(accuracy.average_precision, ".4f"),
            *_agreement(accuracy.agreement),
        ]
        for name, accuracy in measured
    ]
    return Table("Accuracy", header, rows).without_empty()


def ratios(comparison: Comparison, fail_below: float | None) -> Table:
    """Return the comparison with an earlier run."""
    header = [*_PLACE, "measure", "before", "now", "times as fast", "95 % interval", ""]
    rows = [
        [
            ratio.engine,
            ratio.load,
            str(ratio.batch),
            f"{ratio.measure}{'/s' if ratio.measure == 'throughput' else ' ms'}",
            f"{ratio.old:.4g}",
            f"{ratio.new:.4g}",
            f"{ratio.speed:.3f}",
            f"{ratio.low:.3f} to {ratio.high:.3f}",
            "REGRESSION" if fail_below is not None and ratio.is_below(fail_below) else "",
        ]
        for ratio in comparison.ratios
    ]
    return Table("Against the earlier run", header, rows)


_PLACE = ("engine", "load", "batch")
_USAGE = {
    "cpu_cores": "CPU cores",
    "other_cores": "others' cores",
    "memory_mib": "process MiB",
    "gpu_percent": "GPU %",
    "gpu_memory_mib": "GPU MiB",
    "gpu_clock_mhz": "GPU MHz",
}


def _place(point: Point) -> list[str]:
    return [point.engine, point.load.label(), str(point.batch or _NONE)]


def _measures(summary: Summary | None) -> list[str]:
    if summary is None:
        return [_NONE] * len(MEASURES)
    return [
        f"{summary[measure]:.2f}" if summary.is_resolved(measure) else f"({summary[measure]:.2f})"
        for measure in MEASURES
    ]


def _usage(point: Point, name: str) -> str:
    usage = point.usage.get(name)
    return _NONE if usage is None else f"{usage.mean:.3g}" if usage.mean < 100 else f"{usage.mean:.0f}"


def _agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return [_NONE] * 4
    spreads = (agreement.iou, agreement.score_change)
    means = [_number(None if spread is None else spread.mean, ".4f") for spread in spreads]
    return [str(agreement.faces), str(agreement.matched), *means]


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else f"{value:{form}}"
