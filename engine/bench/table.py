"""A run as rows of text, for the screen and for the page."""

from __future__ import annotations

from collections.abc import Sequence

from engine.bench.compare import Comparison
from engine.bench.results import Engine, Point
from engine.bench.statistics import MEASURES, Summary
from engine.evaluate.agreement import Agreement

Table = tuple[list[str], list[list[str]]]
_NONE = "-"
UNRESOLVED = "A quantile in brackets has no request beyond it: more requests would be needed to know it."


def overview(points: Sequence[Point]) -> Table:
    """Return throughput and latency of each point."""
    header = ["engine", "load", "batch", "mean batch", "requests", "failed", "images/s"]
    header += [f"{measure} ms" for measure in MEASURES] + ["CPU cores", "memory MiB", "GPU %", "GPU MiB", "steady"]
    return header, [
        [
            *_place(point),
            _number(point.mean_batch, ".3g"),
            str(len(point.measured.answers)),
            str(len(point.measured.failed) + len(point.measured.unanswered)),
            f"{point.measured.throughput:.1f}",
            *_measures(point.latency),
            *(_usage(point, name) for name in ("cpu_cores", "memory_mib", "gpu_percent", "gpu_memory_mib")),
            "yes" if point.measured.unsteady is None else "NO",
        ]
        for point in points
    ]


def stage_means(points: Sequence[Point]) -> Table:
    """Return the mean of each stage of each point, and the stages' part of the latency."""
    names = list(dict.fromkeys(name for point in points for name in point.stages))
    rows = []
    for point in points:
        means = [f"{point.stages[name]['mean']:.2f}" if name in point.stages else _NONE for name in names]
        rows.append([*_place(point), *means, _number(point.accounted, ".1%")])
    return ["engine", "load", "batch", *(f"{name} ms" for name in names), "of latency"], rows


def stage_quantiles(points: Sequence[Point]) -> Table:
    """Return all measures of each stage of each point."""
    return ["engine", "load", "batch", "stage", *(f"{measure} ms" for measure in MEASURES)], [
        [*_place(point), name, *_measures(summary)] for point in points for name, summary in point.stages.items()
    ]


def accuracies(engines: Sequence[Engine]) -> Table | None:
    """Return the accuracy of each engine; None where none was measured."""
    measured = [(engine.name, engine.accuracy) for engine in engines if engine.accuracy is not None]
    if not measured:
        return None
    header = ["engine", "pictures", "labelled faces", "average precision"]
    header += ["reference's faces", "of them found", "mean IoU", "mean change of score"]
    return header, [
        [
            name,
            str(accuracy.pictures),
            _number(accuracy.labels, "d"),
            _number(accuracy.average_precision, ".4f"),
            *_agreement(accuracy.agreement),
        ]
        for name, accuracy in measured
    ]


def ratios(comparison: Comparison, fail_below: float | None) -> Table:
    """Return the ratios to an earlier run."""
    return ["engine", "load", "batch", "measure", "before", "now", "times as fast", "95 % interval", ""], [
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


def _place(point: Point) -> list[str]:
    return [point.engine, point.load.label(), str(point.batch)]


def _measures(summary: Summary | None) -> list[str]:
    if summary is None:
        return [_NONE] * len(MEASURES)
    return [
        f"{summary[measure]:.2f}" if summary.is_resolved(measure) else f"({summary[measure]:.2f})"
        for measure in MEASURES
    ]


def _usage(point: Point, name: str) -> str:
    usage = point.usage.get(name)
    return _NONE if usage is None else f"{usage.mean:.4g}"


def _agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return [_NONE] * 4
    spreads = (agreement.iou, agreement.score_change)
    means = [_number(None if spread is None else spread.mean, ".4f") for spread in spreads]
    return [str(agreement.faces), str(agreement.matched), *means]


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else f"{value:{form}}"
