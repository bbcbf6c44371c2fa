"""Stores reach other blocks when PTX's memory model says so, and not before."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import kernels

BLOCKS, THREADS = 4, 64


def _sum(kernel: str) -> int:
    parts, tickets, total = np.zeros(BLOCKS * THREADS, np.int32), np.zeros(1, np.uint32), np.zeros(1, np.int32)
    kernels("fences").launch(kernel, BLOCKS, THREADS, parts, tickets, total)
    if kernel != "strong_accesses":
        assert parts.tolist() == [1] * (BLOCKS * THREADS), "all stores arrive in the end"
    return int(total[0])


@pytest.mark.parametrize("kernel", ["all_fences", "fence_of_one_thread", "ordered_atomic", "strong_accesses"])
def test_what_is_ordered_is_seen(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_EMULATOR_RACE", "1")
    assert _sum(kernel) == BLOCKS * THREADS


@pytest.mark.parametrize(
    ("kernel", "seen"),
    [
        ("not_published", THREADS),
        ("not_acquired", THREADS),
        ("fence_without_barrier", 32 + BLOCKS - 1),  # its own warp's, and of each block that of the thread that fenced
        ("fence_of_the_block_only", THREADS),
    ],
)
def test_a_missing_fence_shows(kernel: str, seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last block sees its own stores, and zeros instead of those of the others."""
    monkeypatch.setenv("CUDA_EMULATOR_RACE", "1")
    assert _sum(kernel) == seen
    monkeypatch.setenv("CUDA_EMULATOR_RACE", "0")
    assert _sum(kernel) > seen
