"""How far a long work is, on stderr: its stages as they begin, or a line that changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status as RichStatus
from rich.text import Text

from engine.text import printable

_REMARKS = ("Note: ", "Warning: ")
_COUNT = re.compile(r" \d+/\d+$")


class Status:
    """A line on a terminal that changes as work goes on, and lines that stay."""

    def __init__(self, console: Console, line: RichStatus) -> None:
        """Write to a console."""
        self._console, self._line = console, line

    def update(self, text: str) -> None:
        """Change the line; nothing where there is no terminal."""
        self._line.update(Text(printable(text)))

    def keep(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(Text(printable(text)), soft_wrap=True)


@contextmanager
def status_shown() -> Iterator[Status]:
    """Give a status line on stderr."""
    console = Console(stderr=True)
    with console.status("Starting") as line:
        yield Status(console, line)


@contextmanager
def stages_shown() -> Iterator[Callable[[str], None]]:
    """Give a function that prints a stage's name once, and on a terminal its count ("Fitting 3/9") as it goes on.

    A remark, which begins with "Note: " or "Warning: ", may have several lines.
    """
    console = Console(stderr=True)
    printed: set[str] = set()
    with console.status("Starting") as status:

        def show(stage: str) -> None:
            if stage.startswith(_REMARKS):
                for line in stage.split("\n"):
                    console.print(Text(printable(line)), soft_wrap=True)
                return
            name = _COUNT.sub("", stage)
            if name not in printed:
                console.print(Text(printable(f"{name} ...")), soft_wrap=True)
                printed.add(name)
            status.update(Text(printable(stage)))

        yield show
