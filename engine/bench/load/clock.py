"""The clock of the load generator; tests replace it by a simulated one."""

from __future__ import annotations

import queue
import time
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time in seconds, and waiting for it."""

    def now(self) -> float:
        """Return the time; it never decreases."""

    def receive(self, inbox: queue.SimpleQueue[T], until: float) -> T | None:
        """Return the next item of the inbox, or None when the time is `until`."""


class WallClock:
    """Real time."""

    def now(self) -> float:
        """See Clock.now."""
        return time.perf_counter()

    def receive(self, inbox: queue.SimpleQueue[T], until: float) -> T | None:
        """See Clock.receive."""
        left = until - self.now()
        try:
            return inbox.get(timeout=left) if left > 0 else inbox.get_nowait()
        except queue.Empty:
            return None
