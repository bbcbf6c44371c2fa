"""How long the longest chain of dependent steps is in the suppression kernels.

The emulator runs blocks one after another, so it cannot show what waits for what. This follows the kernels instead: a
step is a barrier, or a read of global memory whose result the next step needs. That the barriers are those of the
kernel is checked against the counted ones (tests/benchmarks/test_kernel_counts.py).
"""

from __future__ import annotations

TILE = 128  # kNmsTile
WARPS = 16  # of a block: kSuppressThreads / 32

_ORDER = 3  # first kernel: the count, the scores, the barrier of scores_in_order
_PROLOGUE = 6  # ticket, its barrier, the image's order, its boxes, two barriers of test_ahead
_EPILOGUE = 4  # a barrier, the slot's scores, a barrier, the landmarks


def longest_chain(candidates: int) -> int:
    """Count the steps from the launch to the last detection written, nothing being suppressed before its turn."""
    published: list[int] = []
    for tile in range(-(-candidates // TILE)):
        tested = _ORDER + _PROLOGUE
        for other in range(tile - 1):
            # A verdict is read when it is there and the block has come to it; then a barrier.
            tested = max(tested, published[other] + 1) + 1
        settled = tested + 1  # the barrier before settle
        # The previous tile's verdict is read by the warp that settles, which publishes with no step between.
        published.append(max(settled, published[-1] + 1) if published else settled)
    return published[-1] + _EPILOGUE


def barriers(candidates: int) -> int:
    """Count the barriers of all blocks' warps, likewise."""
    per_block = 5  # ticket, two of test_ahead, before settle, after it; one more for landmarks
    return WARPS * sum(per_block + 1 + max(tile - 1, 0) for tile in range(-(-candidates // TILE)))
