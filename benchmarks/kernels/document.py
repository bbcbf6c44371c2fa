"""Reads and writes generated sections of the documents, each between two markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "development" / "kernels.md"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def read(name: str, document: Path = DOCUMENT) -> str:
    """Return the text between the markers of a section."""
    before, after = _markers(name)
    return document.read_text().split(before)[1].split(after)[0].strip()


def write(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Replace the text between the markers of a section."""
    before, after = _markers(name)
    head, rest = document.read_text().split(before)
    document.write_text(f"{head}{before}\n{text.strip()}\n{after}{rest.split(after)[1]}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: generated -->", f"<!-- end of {name} -->"
