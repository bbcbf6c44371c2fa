"""Writes a comparison as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from engine.evaluate.report.drawing import CANDIDATE_COLOUR, REFERENCE_COLOUR, draw_difference
from engine.evaluate.report.page import figure, page, table, text
from engine.evaluate.report.plots import plots
from engine.evaluate.report.table import rows
from engine.images import read_image

if TYPE_CHECKING:
    from engine.evaluate.comparison import Compared, Comparison


def html_report(comparison: Comparison, details: dict[str, str]) -> str:
    """Return the page.

    Args:
        comparison: to report; the worst pictures are read again.
        details: description of each engine by its name.
    """
    names = [engine.name for engine in comparison.engines]
    parts = [
        f"<p>{len(comparison.images)} pictures compared, {len(comparison.skipped)} skipped.</p>",
        table(["engine", "what it is"], [[name, what] for name, what in details.items()]),
        "<h2>Measures</h2>",
        table(["", *names], [[name, *values] for name, values in rows(comparison)]),
        "<h2>Plots</h2>",
        *(figure(title, "image/png", content) for title, content in plots(comparison).items()),
        *(part for engine in comparison.engines for part in _worst(comparison, engine)),
    ]
    if comparison.skipped:
        skipped = [[entry.image, entry.reason] for entry in comparison.skipped]
        parts += ["<h2>Skipped pictures</h2>", table(["picture", "reason"], skipped)]
    return page(f"Agreement with {comparison.reference}", parts)


def _worst(comparison: Comparison, engine: Compared) -> list[str]:
    parts = [f"<h2>Where {text(engine.name)} differs most</h2>"]
    if not engine.worst:
        return [*parts, "<p>It does not differ.</p>"]
    parts.append(
        f"<p>Boxes, landmarks and scores: {_swatch(REFERENCE_COLOUR)} {text(comparison.reference)}, "
        f"{_swatch(CANDIDATE_COLOUR)} {text(engine.name)}. Each picture is cropped around its worst face.</p>"
    )
    for entry in engine.worst:
        name = comparison.images[entry.image]
        image = read_image(comparison.folder / name)
        drawn = draw_difference(image, entry.box, comparison.reference_faces[entry.image], engine.faces[entry.image])
        caption = f"{name}: {entry.kind}, differs by {entry.harm:.4f}"
        parts.append(figure(caption, "image/jpeg", cv2.imencode(".jpg", drawn)[1].tobytes()))
    return parts


def _swatch(bgr: tuple[int, int, int]) -> str:
    blue, green, red = bgr
    return f'<span style="color: rgb({red}, {green}, {blue})">&#9632;</span>'
