"""`retinaface-trt cache`."""

from __future__ import annotations

import argparse
from datetime import datetime

from rich.console import Console
from rich.table import Table

from engine.cli.terminal import shown
from engine.files import cache_folder
from engine.store.contents import Kept, contents, remove

SUMMARY = "list or remove the engines and weights that are kept for later use"
_ANY_WIDTH = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="with --clear: what to remove (default: everything)")
    parser.add_argument("--clear", action="store_true", help="remove it")


def run(arguments: argparse.Namespace) -> int:
    """Print what is kept, or what was removed."""
    if arguments.clear:
        _print(remove(arguments.names), "removed from")
    else:
        _print([kept for kept in contents() if not arguments.names or kept.name in arguments.names], "in")
    return 0


def _print(kept: list[Kept], where: str) -> None:
    table = Table(box=None)
    for column in ("name", "MB", "last used"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for entry in kept:
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        table.add_row(shown(entry.name), f"{entry.size / 1e6:.1f}", used)
    console = Console(width=_ANY_WIDTH)
    if kept:
        console.print(table)
    total = sum(entry.size for entry in kept) / 1e6
    console.print(shown(f"{len(kept)} kept, {total:.1f} MB, {where} {cache_folder()}"), highlight=False)
