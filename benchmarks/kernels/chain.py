"""Computes the longest chain of dependent steps in the NMS kernels.

The emulator runs blocks one after another, so it cannot show dependencies between blocks. This module is a model of the
kernels instead: a step is a barrier, or a read of global memory whose result the next step needs. A test compares the
number of barriers in the model with the number that the emulator counts (tests/benchmarks/test_kernel_counts.py).
"""

from __future__ import annotations

TILE = 128  # kNmsTile
WARPS = 16  # per block: kSuppressThreads / 32

_ORDER = 3  # first kernel: reads of the count and the scores, the barrier of scores_in_order
_PROLOGUE = 6  # ticket, its barrier, the image's order, its boxes, two barriers of test_ahead
_EPILOGUE = 4  # a barrier, the slot's scores, a barrier, the landmarks


def longest_chain(candidates: int) -> int:
    """Return the steps from the launch to the last detection written, if no candidate is suppressed early."""
    published: list[int] = []
    for tile in range(-(-candidates // TILE)):
        tested = _ORDER + _PROLOGUE
        for other in range(tile - 1):
            # The block reads a tile's verdict once it is published; then a barrier.
            tested = max(tested, published[other] + 1) + 1
        settled = tested + 1  # the barrier before settle
        # The warp that settles reads the previous tile's verdict and publishes its own at once.
        published.append(max(settled, published[-1] + 1) if published else settled)
    return published[-1] + _EPILOGUE


def barriers(candidates: int) -> int:
    """Return the number of barrier arrivals of all blocks' warps, in the same case."""
    per_block = 5  # ticket, two of test_ahead, before settle, after settle; landmarks take one more
    return WARPS * sum(per_block + 1 + max(tile - 1, 0) for tile in range(-(-candidates // TILE)))
