"""The clock of the load generator."""

from __future__ import annotations

import queue
import time
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Time in seconds, and waiting for it; tests derive a simulated clock."""

    def now(self) -> float:
        """Return the time; it never decreases."""
        return time.perf_counter()

    def receive(self, inbox: queue.SimpleQueue[T], until: float) -> T | None:
        """Return the next item of the inbox, or None when the time is `until`."""
        left = until - self.now()
        try:
            return inbox.get(timeout=left) if left > 0 else inbox.get_nowait()
        except queue.Empty:
            return None
