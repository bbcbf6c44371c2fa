"""The stages of a long work, as they begin, on stderr."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from engine.text import printable

_REMARKS = ("Note: ", "Warning: ")
_COUNT = re.compile(r" \d+/\d+$")


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
