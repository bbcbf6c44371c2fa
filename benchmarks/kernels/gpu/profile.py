"""Measures how long the kernels of a call run on the GPU."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

ROUNDS = 3
CALLS = 10  # of a round


@dataclass(frozen=True)
class Duration:
    """How long a call takes on the GPU.

    Attributes:
        microseconds: of all its kernels and copies, added up: the median of rounds. What lies between the kernels, on
            the host and on the GPU, is not in it.
        kernels: name, and microseconds of one call.
    """

    microseconds: float
    kernels: dict[str, float]


def duration(call: Callable[[], object]) -> Duration:
    """Run a call many times, and return what PyTorch's profiler (CUPTI) says of its kernels."""
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    rounds = [_round(call) for _ in range(ROUNDS)]
    return Duration(
        statistics.median(sum(kernels.values()) for kernels in rounds),
        {name: statistics.median(kernels.get(name, 0.0) for kernels in rounds) for name in rounds[0]},
    )


def _round(call: Callable[[], object]) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()
    kernels: dict[str, float] = defaultdict(float)
    for event in seen.events() or []:
        if event.device_type.name == "CUDA":
            kernels[event.name] += event.device_time_total / CALLS
    return kernels
