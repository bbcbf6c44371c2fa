"""Timing the stages of a detection."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

# Seconds by name, in this order where present: "decode" (of the picture file), "queueing", "letterbox", "h2d",
# "network", "post-processing", "d2h", "undo letterbox".
Stages = dict[str, float]
STAGE_NAMES = ("decode", "queueing", "letterbox", "h2d", "network", "post-processing", "d2h", "undo letterbox")


def in_order(stages: Stages) -> Stages:
    """Return the stages in the order of STAGE_NAMES."""
    return {name: stages[name] for name in STAGE_NAMES if name in stages}


class Stopwatch:
    """Splits the time since its creation into consecutive stages.

    Attributes:
        stages: seconds by name; those of a repeated stage are summed.
    """

    def __init__(self) -> None:
        """Start."""
        self.stages: Stages = {}
        self._since = perf_counter()

    def lap(self, stage: str) -> None:
        """End `stage`, which began when the last one ended."""
        now = perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._since
        self._since = now

    def lap_parallel(self, threads: Sequence[Stages]) -> None:
        """End stages that several threads ran in parallel; the elapsed time is shared in proportion to their sums."""
        now = perf_counter()
        spent: Stages = {}
        for stages in threads:
            for stage, seconds in stages.items():
                spent[stage] = spent.get(stage, 0.0) + seconds
        share = (now - self._since) / sum(spent.values())
        for stage, seconds in spent.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds * share
        self._since = now

    def lap_measured(self, parts: Stages, rest: str) -> None:
        """End stages that another clock measured, such as CUDA events; the remaining time goes to the stage `rest`."""
        now = perf_counter()
        left = now - self._since - sum(parts.values())
        for stage, seconds in {**parts, rest: parts.get(rest, 0.0) + left}.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds
        self._since = now
