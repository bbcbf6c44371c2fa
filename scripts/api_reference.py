"""Writes the reference of the public names, as pages of HTML from their docstrings: api_reference.py FOLDER."""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path

import engine

MODULES = ("engine", "engine.ops")


def write_reference(folder: Path) -> None:
    """Write the pages to a folder; index.html is the first. A name that cannot be documented is an error."""
    import pdoc

    for name in engine.__all__:  # pdoc sees only what a module holds, and engine imports its names when they are used
        value = getattr(engine, name)
        setattr(engine, name, value)
        if inspect.isclass(value):
            _take_over(value)
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about types of packages that are not installed
        warnings.filterwarnings("error", "Found .* does not resolve")
        pdoc.pdoc(*MODULES, output_directory=folder)


def _take_over(public: type) -> None:
    """Give a class the methods that it inherits from this package's bases, which have no entries of their own."""
    for base in public.__mro__[1:]:
        if base.__module__.startswith("engine.") and not hasattr(engine, base.__name__):
            for name, value in vars(base).items():
                if inspect.isfunction(value) and not name.startswith("_") and name not in vars(public):
                    setattr(public, name, value)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
