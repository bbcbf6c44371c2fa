"""Matplotlib figures without pyplot: they need no display and leave the user's figures alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from engine.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_WIDTH, _HEIGHT = 7.2, 3.6  # inches of one plot
_LABEL = 60  # characters


def new_figure(columns: int, size: tuple[float, float] | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure with `columns` plots side by side; size is its width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size or (_WIDTH * (1.5 if columns > 1 else 1), _HEIGHT), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def label(name: str) -> str:
    """Return a name as Matplotlib draws it in a legend: dollars are no formula, and no name is private."""
    text = printable(name, _LABEL).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file; equal figures give equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
