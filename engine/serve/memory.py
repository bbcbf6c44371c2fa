"""Bounds the memory of all requests in progress together."""

from __future__ import annotations

from contextvars import ContextVar

from engine.serve.refusals import Refusal


class Budget:
    """Bytes that requests may hold together."""

    def __init__(self, most: int) -> None:
        """Begin with none held."""
        self.most, self.held = most, 0


class Holding:
    """What one request holds of a budget: its body, and what decoding its pictures takes at most."""

    def __init__(self, budget: Budget) -> None:
        """Hold nothing yet."""
        self._budget, self._bytes = budget, 0

    def add(self, count: int) -> None:
        """Hold more.

        Raises:
            Refusal: the request alone takes too much, or all of them together do.
        """
        most = self._budget.most
        if self._bytes + count > most:
            raise Refusal(413, "memory", f"the request takes more than the {most / 1e6:,.0f} MB of memory that all may")
        if self._budget.held + count > most:
            raise Refusal(503, "memory", "the requests in progress take all memory: try again later", 1)
        self._bytes += count
        self._budget.held += count

    def release(self) -> None:
        """Hold nothing any more."""
        self._budget.held -= self._bytes
        self._bytes = 0


current: ContextVar[Holding] = ContextVar("holding")
"""That of the request which this task answers."""
