"""Computes the longest chain of dependent steps in the NMS kernels.

A step is a barrier, or a read of global memory whose result the next step needs. A test compares the number of barriers
in this model with the number that the emulator counts (tests/benchmarks/test_kernel_counts.py).
"""

from __future__ import annotations

TILE = 128  # kNmsTile
ROUND = 8  # tiles of the first round: kFirstRoundTiles
WARPS = 16  # per block: kSuppressThreads / 32

_ORDER = 3  # first kernel: reads of the count and the scores, the barrier of scores_in_order
_OVERLAPS = 4  # second kernel: the image's order, its boxes, a barrier, what the first round has kept
_PROLOGUE = 4  # third kernel: the image's order, what is kept, a barrier, the first tile's overlaps and a barrier
_EPILOGUE = 3  # the boxes and scores, a barrier, the landmarks


def longest_chain(candidates: int) -> int:
    """Return the steps from the first launch to the last detection written, if the result is not full before."""
    # Overlaps are read a tile ahead: only the barrier behind each tile counts.
    return _ORDER + _rounds(candidates) * (_OVERLAPS + _PROLOGUE + _EPILOGUE) + _tiles(candidates)


def barriers(candidates: int) -> int:
    """Return the number of barrier arrivals of the third kernel's warps, in the same case."""
    # Behind each tile; in a round two before the first tile and one before the landmarks.
    return WARPS * (_tiles(candidates) + 3 * _rounds(candidates))


def _tiles(candidates: int) -> int:
    return -(-candidates // TILE)


def _rounds(candidates: int) -> int:
    return 1 if _tiles(candidates) <= ROUND else 2
