"""The stages of a long work, as they begin, on stderr."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from engine.text import printable

_COUNT = re.compile(r" \d+/\d+$")


@contextmanager
def stages_shown() -> Iterator[Callable[[str], None]]:
    """Give a function that prints a stage's name once, and on a terminal its count ("Fitting 3/9") as it goes on."""
    console = Console(stderr=True)
    printed: set[str] = set()
    with console.status("Starting") as status:

        def show(stage: str) -> None:
            name = _COUNT.sub("", stage)
            if name not in printed:
                console.print(Text(printable(f"{name} ...")), soft_wrap=True)
                printed.add(name)
            status.update(Text(printable(stage)))

        yield show
