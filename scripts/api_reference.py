"""Writes the reference of the public names, as pages of HTML from their docstrings: api_reference.py FOLDER."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import engine

MODULES = ("engine", "engine.ops")


def write_reference(folder: Path) -> None:
    """Write the pages to a folder; index.html is the first. A name that cannot be documented is an error."""
    import pdoc

    for name in engine.__all__:  # pdoc sees only what a module holds, and engine imports its names when they are used
        setattr(engine, name, getattr(engine, name))
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about types of packages that are not installed
        warnings.filterwarnings("error", "Found .* does not resolve")
        pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
