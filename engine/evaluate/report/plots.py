"""Plots of a comparison, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.evaluate.comparison import Comparison
from engine.evaluate.report.figures import label, new_figure, png
from engine.metrics.matching import MatchedFaces, match_faces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plots(comparison: Comparison) -> dict[str, bytes]:
    """Return PNG files by title."""
    matched = {
        label(engine.name): match_faces(
            comparison.reference_faces, engine.faces, score_threshold=engine.agreement.score_threshold
        )
        for engine in comparison.engines
    }
    figures = {
        "Overlap of matched boxes": _overlap(matched),
        "Change of score": _scores(matched),
        "Lost and new faces": _presence(comparison),
    }
    if any(engine.agreement.landmark_error for engine in comparison.engines):
        figures["Landmark error"] = _landmarks(matched)
    if any(engine.agreement.labels for engine in comparison.engines):
        figures["Average precision by size of face"] = _sizes(comparison)
    return {title: png(figure) for title, figure in figures.items()}


def _overlap(matched: dict[str, MatchedFaces]) -> Figure:
    figure, (left, right) = new_figure(2)
    values = {name: faces.iou for name, faces in matched.items()}
    lowest = min((float(v.min()) for v in values.values() if len(v)), default=0.0)
    bins = np.linspace(min(lowest, 0.99), 1.0, 41).tolist()
    left.hist(list(values.values()), bins=bins, histtype="step", label=list(values))
    left.set(xlabel="IoU with the reference's box", ylabel="faces")
    left.legend(fontsize=8)
    _cumulative(right, values, "IoU with the reference's box")
    return figure


def _landmarks(matched: dict[str, MatchedFaces]) -> Figure:
    figure, (axes,) = new_figure(1)
    values = {name: faces.landmark_error[~np.isnan(faces.landmark_error)] for name, faces in matched.items()}
    _cumulative(axes, values, "mean distance of the landmarks / size of the box")
    return figure


def _scores(matched: dict[str, MatchedFaces]) -> Figure:
    figure, (axes,) = new_figure(1)
    for name, faces in matched.items():
        axes.scatter(faces.reference_score, faces.score_change, s=10, alpha=0.6, label=name)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set(xlabel="score of the reference", ylabel="candidate's score - reference's")
    axes.legend(fontsize=8)
    return figure


def _presence(comparison: Comparison) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(1)
    entries = comparison.engines
    width = 0.8 / len(entries)
    for index, engine in enumerate(entries):
        presence = engine.agreement.presence
        places = np.arange(len(presence)) + (index - (len(entries) - 1) / 2) * width
        bars = axes.bar(places, [entry.new for entry in presence], width, label=label(engine.name))
        colour = bars.patches[0].get_facecolor()
        axes.bar(places, [-entry.lost for entry in presence], width, color=colour)
        axes.set_xticks(range(len(presence)), [f"{entry.threshold:g}" for entry in presence])
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set(xlabel="score threshold of both", ylabel="lost (below 0), new (above)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return figure


def _sizes(comparison: Comparison) -> Figure:
    figure, (axes,) = new_figure(1)
    labelled = [(engine.name, engine.agreement.labels) for engine in comparison.engines if engine.agreement.labels]
    series = [(comparison.reference, labelled[0][1].reference_by_size)]
    series += [(name, entry.candidate_by_size) for name, entry in labelled]
    width = 0.8 / len(series)
    for index, (name, ranges) in enumerate(series):
        places = np.arange(len(ranges)) + (index - (len(series) - 1) / 2) * width
        axes.bar(places, [entry.average_precision or 0.0 for entry in ranges], width, label=label(name))
    ticks = [f"{entry.low:g}-{entry.high:g}\n({entry.faces} faces)" for entry in series[0][1]]
    axes.set_xticks(range(len(ticks)), ticks, fontsize=8)
    axes.set(xlabel="size of the labelled face in pixels", ylabel="average precision", ylim=(0, 1.02))
    axes.legend(fontsize=8)
    return figure


def _cumulative(axes: Axes, values: dict[str, NDArray[np.float64]], meaning: str) -> None:
    some = {name: numbers for name, numbers in values.items() if len(numbers)}
    for name, numbers in some.items():
        axes.ecdf(numbers, label=name)
    axes.set(xlabel=meaning, ylabel="share of faces below")
    axes.grid(alpha=0.3)
    if some:
        axes.legend(fontsize=8)
