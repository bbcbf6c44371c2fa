"""What goes to stdout or to another stream that may fail."""

from __future__ import annotations

import os
from typing import TextIO


def flush_or_discard(stream: TextIO) -> None:
    """Write what is buffered for a stream. If that fails, drop it: as the interpreter ends, it would fail once more."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
