"""Writes a run as one self-contained HTML page."""

from __future__ import annotations

from engine.bench.analysis.compare import Comparison
from engine.bench.analysis.results import Results
from engine.bench.report.plots import plots
from engine.bench.report.table import (
    UNRESOLVED,
    Table,
    accuracies,
    latencies,
    ratios,
    stage_means,
    stage_quantiles,
    usages,
)
from engine.evaluate.report.page import figure, page, table, text


def html_report(results: Results, comparison: Comparison | None = None, fail_below: float | None = None) -> str:
    """Return the page."""
    points = results.points
    workload = results.workload
    parts = [
        f"<p>{workload['pictures']} pictures, {text(workload['source'])}. A latency begins at the intended "
        "start of a request, and includes decoding its picture file.</p>",
        table(["engine", "device", "what it is"], [[e.name, e.device, e.details] for e in results.engines]),
        "<h2>What it means</h2>",
        *_list([str(verdict) for verdict in results.verdicts]),
        *_table(latencies(points)),
        f"<p>{UNRESOLVED}</p>",
        *_table(usages(points)),
        "<h2>Plots</h2>",
        *(figure(title, "image/png", content) for title, content in plots(points).items()),
        *_table(stage_means(points)),
        *_table(stage_quantiles(points)),
    ]
    if (accuracy := accuracies(results.engines)) is not None:
        parts += _table(accuracy)
    if comparison is not None:
        parts += _table(ratios(comparison, fail_below))
        parts += _list([f"not in the earlier run: {what}" for what in comparison.unmatched])
        parts += _list([f"differs: {what}" for what in comparison.differences])
    if workload["skipped"]:
        rows = [[entry["picture"], entry["reason"]] for entry in workload["skipped"]]
        parts += ["<h2>Skipped pictures</h2>", table(["picture", "reason"], rows)]
    for title, values in (("Settings", results.settings), ("Environment", results.environment)):
        parts += [f"<h2>{title}</h2>", table(["", ""], [[name, str(value)] for name, value in values.items()])]
    return page("How fast faces are found", parts)


def _table(content: Table) -> list[str]:
    return [f"<h2>{text(content.title)}</h2>", table(content.header, content.rows)]


def _list(lines: list[str]) -> list[str]:
    return ["<ul>", *(f"<li>{text(line)}</li>" for line in lines), "</ul>"] if lines else []
