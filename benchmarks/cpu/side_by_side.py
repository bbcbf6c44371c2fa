"""Times alternatives in turns, so that other work on a shared machine slows all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

Seconds = dict[str, NDArray[np.float64]]


def time_in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Return the seconds of each way in each round; a warm-up round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begin = perf_counter()
            way()
            if turn > 0:
                seconds[name].append(perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(seconds: Seconds, slow: str, fast: str) -> str:
    """Return the time of `slow` over that of `fast`: the median of the rounds' ratios, and the quartiles."""
    low, middle, high = np.percentile(seconds[slow] / seconds[fast], [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def milliseconds(seconds: Seconds, name: str) -> str:
    """Return the median and the minimum over the rounds."""
    return f"{1e3 * np.median(seconds[name]):.2f} (least {1e3 * seconds[name].min():.2f})"
