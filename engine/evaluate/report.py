"""A comparison as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import cv2

from engine.evaluate.drawing import CANDIDATE_COLOUR, REFERENCE_COLOUR, draw_difference
from engine.evaluate.plots import plots
from engine.evaluate.table import rows
from engine.images import read_image

if TYPE_CHECKING:
    from engine.evaluate.comparison import Compared, Comparison

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1120px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }
figure { display: inline-block; margin: 0 .8em 1em 0; vertical-align: top; }
figcaption { font-size: 13px; color: #555; max-width: 320px; overflow-wrap: anywhere; } img { max-width: 100%; }
"""


def html_report(comparison: Comparison, details: dict[str, str]) -> str:
    """Return the page.

    Args:
        comparison: to show; the worst pictures are read again.
        details: what each engine is, by its name.
    """
    names = [engine.name for engine in comparison.engines]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>Agreement with {escape(comparison.reference)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Agreement with {escape(comparison.reference)}</h1>",
        f"<p>{len(comparison.images)} pictures compared, {len(comparison.skipped)} skipped.</p>",
        _table(["engine", "what it is"], [[name, text] for name, text in details.items()]),
        "<h2>Measures</h2>",
        _table(["", *names], [[name, *values] for name, values in rows(comparison)]),
        "<h2>Plots</h2>",
        *(_figure(title, "image/png", content) for title, content in plots(comparison).items()),
        *(part for engine in comparison.engines for part in _worst(comparison, engine)),
    ]
    if comparison.skipped:
        skipped = [[entry.image, entry.reason] for entry in comparison.skipped]
        parts += ["<h2>Skipped pictures</h2>", _table(["picture", "reason"], skipped)]
    return "\n".join([*parts, "</body></html>", ""])


def _worst(comparison: Comparison, engine: Compared) -> list[str]:
    parts = [f"<h2>Where {escape(engine.name)} differs most</h2>"]
    if not engine.worst:
        return [*parts, "<p>It does not differ.</p>"]
    parts.append(
        f"<p>Boxes, landmarks and scores: {_swatch(REFERENCE_COLOUR)} {escape(comparison.reference)}, "
        f"{_swatch(CANDIDATE_COLOUR)} {escape(engine.name)}. Each picture is cut around its worst face.</p>"
    )
    for entry in engine.worst:
        name = comparison.images[entry.image]
        image = read_image(comparison.folder / name)
        drawn = draw_difference(image, entry.box, comparison.reference_faces[entry.image], engine.faces[entry.image])
        caption = f"{name}: {entry.kind}, differs by {entry.harm:.4f}"
        parts.append(_figure(caption, "image/jpeg", cv2.imencode(".jpg", drawn)[1].tobytes()))
    return parts


def _swatch(bgr: tuple[int, int, int]) -> str:
    blue, green, red = bgr
    return f'<span style="color: rgb({red}, {green}, {blue})">&#9632;</span>'


def _figure(caption: str, kind: str, content: bytes) -> str:
    data = base64.b64encode(content).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'


def _table(header: list[str], lines: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"
