"""The steady-state test: consecutive windows of a measurement that do not differ significantly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kruskal  # here, as the import takes seconds, in which a load would stall

WINDOWS = 5
"""Number of consecutive windows that are measured; all windows before them, at least one, are the warm-up."""
MOST_WINDOWS = 4 * WINDOWS
TOLERANCE = 0.10
_LEAST_ANSWERS = 5
_CHANCE = 1e-3


@dataclass(frozen=True)
class Window:
    """A part of a run.

    Attributes:
        begin: time of its begin.
        end: time of its end.
        service: seconds of work on each request that was answered in it.
        sent: number of requests sent up to its end.
        answered: number of requests answered up to its end.
    """

    begin: float
    end: float
    service: NDArray[np.float64]
    sent: int
    answered: int

    @property
    def throughput(self) -> float:
        """Requests answered per second."""
        return len(self.service) / (self.end - self.begin)

    @property
    def waiting(self) -> int:
        """Number of requests without an answer at its end."""
        return self.sent - self.answered

    def to_dict(self, begin: float) -> dict[str, Any]:
        """Return plain values for JSON; times count from `begin`."""
        return {
            "begin_s": round(self.begin - begin, 6),
            "end_s": round(self.end - begin, 6),
            "answered": len(self.service),
            "service_p50_ms": float(np.median(self.service)) * 1e3 if len(self.service) else None,
            "unanswered": self.waiting,
        }


def unsteadiness(windows: Sequence[Window], *, is_open: bool) -> str | None:
    """Return why consecutive windows are not one steady state; None if they are.

    The length of an open loop's queue is no criterion: it varies even with a steady server. The time of work on a
    request is one, and so is a queue that only grows.
    """
    counts = np.array([len(window.service) for window in windows])
    if counts.min() < _LEAST_ANSWERS:
        return f"a window of {windows[0].end - windows[0].begin:.3g} s has {counts.min()} answers: measure for longer"
    if is_open:
        if (growth := backlog(windows)) is not None:
            return growth
    elif np.ptp(counts) > max(TOLERANCE * counts.mean(), 3 * counts.mean() ** 0.5):
        rates = [window.throughput for window in windows]
        return f"windows answered from {min(rates):.4g} to {max(rates):.4g} requests/s"
    medians = np.array([np.median(window.service) for window in windows]) * 1e3
    if np.ptp(medians) > TOLERANCE * medians.mean() and _differ(windows):
        return f"the median time of working on a request went from {medians.min():.4g} to {medians.max():.4g} ms"
    return None


def backlog(windows: Sequence[Window]) -> str | None:
    """Return how the queue of an open loop grew; None if its change is within a random walk."""
    sent = windows[-1].sent - windows[0].sent
    growth = sent - (windows[-1].answered - windows[0].answered)
    # The length of a stable queue does a random walk, of about the square root of the number of requests.
    if growth <= 3 * sent**0.5:
        return None
    return f"the queue grew by {growth} of {sent} requests: they arrive faster than they are answered"


def _differ(windows: Sequence[Window]) -> bool:
    """Whether the windows differ significantly: medians of few requests of mixed sizes vary a lot by chance."""
    return float(kruskal(*(window.service for window in windows)).pvalue) < _CHANCE
