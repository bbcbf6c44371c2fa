"""Faults of the file system: a library, to be preloaded, that makes the K-th call fail or kills the process there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("faults.c")


def compile_faults(folder: Path) -> Path:
    """Compile the library."""
    library = folder / "faults.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, _SOURCE, "-ldl"], check=True
    )
    return library
