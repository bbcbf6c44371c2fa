"""Prints and writes the results of the benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich.table
from rich.console import Console

from engine.cli.terminal import as_markup, shown
from engine.writing import write_file

if TYPE_CHECKING:
    from engine.bench.analysis.compare import Comparison
    from engine.bench.analysis.results import Results
    from engine.bench.report.table import Table


def print_results(results: Results, comparison: Comparison | None, fail_below: float | None) -> None:
    """Print tables and verdicts."""
    from engine.bench.report.table import UNRESOLVED, accuracies, latencies, ratios, stage_means, usages

    console = Console(soft_wrap=True, highlight=False)
    for engine in results.engines:
        console.print(shown(f"{engine.name}: {engine.details}"))
    console.print(shown(f"{results.workload['pictures']} pictures: {results.workload['source']}"))
    for entry in results.workload["skipped"]:
        console.print(shown(f"skipped {entry['picture']}: {entry['reason']}", "yellow"))
    tables = [
        latencies(results.points),
        stage_means(results.points),
        usages(results.points),
        accuracies(results.engines),
    ]
    if comparison is not None:
        tables.append(ratios(comparison, fail_below))
    for table in tables:
        if table is not None:
            _print_table(console, table)
    console.print(shown(UNRESOLVED, "dim"))
    for verdict in results.verdicts:
        console.print(shown(f"-> {verdict}"))
    if comparison is not None:
        for text in comparison.unmatched:
            console.print(shown(f"not in the earlier run: {text}", "yellow"))
        for text in comparison.differences:
            console.print(shown(f"differs from the earlier run: {text}", "yellow"))


def _print_table(console: Console, content: Table) -> None:
    table = rich.table.Table(
        *map(as_markup, content.header), box=None, title=as_markup(content.title), title_justify="left"
    )
    for row in content.rows:
        table.add_row(*map(shown, row))
    Console(width=max(console.width, 140), highlight=False).print(table)


def write_results(
    results: Results, comparison: Comparison | None, fail_below: float | None, outputs: dict[str, Path]
) -> None:
    """Write the requested files."""
    if "json" in outputs:
        values = results.to_dict()
        if comparison is not None:
            values["comparison"] = asdict(comparison)
        write_file(outputs["json"], (json.dumps(values, allow_nan=False) + "\n").encode())
    if "html" in outputs:
        from engine.bench.report.write import html_report

        write_file(outputs["html"], html_report(results, comparison, fail_below).encode())
