"""Measures how long the kernels of a call run on the GPU, with inputs in its L2 cache or without."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

ROUNDS = 3
CALLS = 10  # of a round
FLUSHED = 1 << 28  # bytes, more than any L2 cache has
_FLUSH = "bitwise_not"  # in the name of the kernel that overwrites them, and of no other here


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


def duration(call: Callable[[], object], *, flush: bool = False) -> Duration:
    """Run a call many times, and return what PyTorch's profiler (CUPTI) says of its kernels.

    `flush`: overwrite the L2 cache before each call.
    """
    other = torch.zeros(FLUSHED, dtype=torch.uint8, device="cuda") if flush else None
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    rounds = [_round(call, other) for _ in range(ROUNDS)]
    return Duration(
        statistics.median(sum(kernels.values()) for kernels in rounds),
        {name: statistics.median(kernels.get(name, 0.0) for kernels in rounds) for name in rounds[0]},
    )


def _round(call: Callable[[], object], other: Tensor | None) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(CALLS):
            if other is not None:
                other.bitwise_not_()
            call()
        torch.cuda.synchronize()
    kernels: dict[str, float] = defaultdict(float)
    for event in seen.events() or []:
        if event.device_type.name == "CUDA" and _FLUSH not in event.name:
            kernels[event.name] += event.device_time_total / CALLS
    return kernels
