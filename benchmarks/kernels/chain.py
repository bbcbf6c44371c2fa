"""Computes the longest chain of dependent steps in the NMS kernels.

A step is a barrier, or a read of global memory whose result the next step needs. A test compares the number of barriers
in this model with the number that the emulator counts (tests/benchmarks/test_kernel_counts.py).
"""

from __future__ import annotations

TILE = 128  # kNmsTile
WARPS = 16  # per block: kSuppressThreads / 32

_ORDER = 3  # first kernel: reads of the count and the scores, the barrier of scores_in_order
_OVERLAPS = 3  # second kernel: the image's order, its boxes, a barrier
_PROLOGUE = 3  # third kernel: the image's order, a barrier, the first tile's overlaps
_EPILOGUE = 3  # the boxes and scores, a barrier, the landmarks


def longest_chain(candidates: int) -> int:
    """Return the steps from the first launch to the last detection written, if the result is not full before."""
    # Overlaps are read a tile ahead: only the barrier behind each tile counts.
    return _ORDER + _OVERLAPS + _PROLOGUE + -(-candidates // TILE) + _EPILOGUE


def barriers(candidates: int) -> int:
    """Return the number of barrier arrivals of the third kernel's warps, in the same case."""
    return WARPS * (1 + -(-candidates // TILE) + 1)  # before the first tile, behind each tile, before the landmarks
