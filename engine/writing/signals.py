"""SIGINT and SIGTERM wait while files are written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Defer SIGINT and SIGTERM until the end of the block, which may look at a list of those that came."""
    if threading.current_thread() is not threading.main_thread():
        yield []  # Python runs signal handlers in the main thread only
        return
    received: list[int] = []
    # Without handlers that C code installed: they cannot be put back.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None]
    handlers = {number: signal.signal(number, lambda n, frame: received.append(n)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signal_number in received:
            os.kill(os.getpid(), signal_number)
