"""Names in the legends of plots."""

from __future__ import annotations

import os

import pytest

from engine.evaluate.report.figures import label, new_figure, png


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("fp16", "fp16"),
        ("_private", " _private"),
        ("$x^{$", r"\$x^{\$"),
        ("a\x1b[2J\nb" + os.fsdecode(b"\xff"), r"a\x1b[2J\nb\udcff"),
        ("x" * 1000, "x" * 36 + " [...] " + "x" * 17),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_legend_shows_every_name(name: str, drawn: str) -> None:
    """Matplotlib reads dollars as formulas and leaves out what begins with an underscore."""
    figure, (axes,) = new_figure(1)
    axes.plot([0, 1], label=label(name))
    legend = axes.legend()
    assert [text.get_text() for text in legend.get_texts()] == [drawn]
    assert png(figure).startswith(b"\x89PNG")
