"""What the commands print beside JSON: every text goes through here, since it may come from outside."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from engine.text import printable

ANY_WIDTH = 4096  # of tables without borders: a long path stays whole, to be copied
_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)  # as logging passes it


class Parser(argparse.ArgumentParser):
    """A parser whose errors may quote any argument: a shell makes arguments of the names in a folder."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with 2."""
        super().error(printable(message))


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802
        return "\n".join(map(printable, super().formatException(ei).splitlines()))


def set_up_output(verbose: bool) -> None:
    """Send logs to stderr; characters that stdout's encoding lacks are escaped there, as Python does on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[handler])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def shown(text: str, style: str = "") -> Text:
    """Return text as Rich prints it: printable, and without markup."""
    return Text(printable(text), style)


def as_markup(text: str) -> str:
    """Return text for where Rich expects markup: printable, and nothing in it is markup."""
    return escape(printable(text))


def note(text: str, prog: str = "retinaface-trt") -> None:
    """Print a line on stderr, behind the name of the command."""
    print(f"{prog}: {printable(text)}", file=sys.stderr)


@contextmanager
def counted(total: int) -> Iterator[Callable[[str, int], None]]:
    """Give a function that shows what is worked on, and how much more is done: on a terminal that shows no results."""
    console = Console(stderr=True)
    if not console.is_terminal or sys.stdout.isatty():
        yield lambda text, done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("", total=total)
        yield lambda text, done: progress.update(task, description=as_markup(text), advance=done)
