"""Building blocks of a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from engine.text import printable

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1120px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }
figure { display: inline-block; margin: 0 .8em 1em 0; vertical-align: top; }
figcaption { font-size: 13px; color: #555; max-width: 320px; overflow-wrap: anywhere; } img { max-width: 100%; }
"""


def text(content: str) -> str:
    """Return text as HTML."""
    return escape(printable(content))


def page(title: str, parts: Sequence[str]) -> str:
    """Return a page; the parts are HTML, the title is text."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{text(title)}</h1>",
    ]
    return "\n".join([*head, *parts, "</body></html>", ""])


def figure(caption: str, kind: str, content: bytes) -> str:
    """Return a picture embedded in the page, with its caption; `kind` is its MIME type."""
    data = base64.b64encode(content).decode()
    shown = text(caption)
    return f'<figure><img alt="{shown}" src="data:{kind};base64,{data}"><figcaption>{shown}</figcaption></figure>'


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of text."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"
