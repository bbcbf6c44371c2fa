"""Plots precision and recall, as PNG, SVG or PDF."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidArgumentError
from engine.evaluate.report.figures import new_figure
from engine.evaluate.sweep.thresholds import Row
from engine.evaluate.widerface.protocol import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_FORMATS = (".png", ".svg", ".pdf")


def check_plot_path(path: Path) -> None:
    """Raise InvalidArgumentError unless the path ends in one of PLOT_FORMATS."""
    if path.suffix.lower() not in PLOT_FORMATS:
        raise InvalidArgumentError(f"--plot {path}: expected a name that ends in {', '.join(PLOT_FORMATS)}")


def plot_precision_recall(curves: Mapping[str, Curve], title: str, suffix: str) -> bytes:
    """Return a plot of precision over recall, with one line for each subset."""
    figure, (axes,) = _figure(1)
    for name, curve in curves.items():
        axes.plot(curve.recall, curve.precision, label=f"{name}, AP {curve.average_precision:.4f}")
    axes.set(xlabel="recall", ylabel="precision", title=title)
    return _drawn(figure, suffix)


def plot_thresholds(rows: Sequence[Row], suffix: str) -> bytes:
    """Return plots of precision, recall and F1 over the score threshold, with one line for each suppression."""
    measures = ("precision", "recall", "f1")
    figure, panels = _figure(len(measures))
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.suppression.label(), []).append(row)
    for axes, measure in zip(panels, measures, strict=True):
        for label, line in lines.items():
            axes.plot([row.score_threshold for row in line], [getattr(row, measure) for row in line], label=label)
        axes.set(xlabel="score threshold", title="F1" if measure == "f1" else measure)
    return _drawn(figure, suffix)


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure, axes = new_figure(panels, (6 * panels, 5))
    for one in axes:
        one.set(xlim=(0, 1.02), ylim=(0, 1.02))
        one.grid(alpha=0.3)
    return figure, axes


def _drawn(figure: Figure, suffix: str) -> bytes:
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize="small", ncols=2)
    content = io.BytesIO()
    figure.savefig(content, format=suffix.lower().lstrip("."), dpi=120)
    return content.getvalue()
