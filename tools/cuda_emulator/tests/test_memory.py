"""Loads, stores, asynchronous copies, atomics and memory spaces; the kernels are in kernels/memory.cu."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import kernels
from .oracles import random_bits


def test_vectors(architecture: int, rng: np.random.Generator) -> None:
    a, result = random_bits(rng, 256, np.int32).reshape(64, 4), np.zeros((64, 2, 4), np.int32)
    kernels("memory", architecture).launch("vectors", 2, 32, a, result)
    expected = [a[:, 3], a[:, 1], a.view(np.int16)[:, 2], a.view(np.int8)[:, 3]]
    np.testing.assert_array_equal(result[:, 0], np.stack(expected, 1))
    halves = a.view(np.uint64)  # the halves are exchanged, and the low one is incremented
    np.testing.assert_array_equal(result[:, 1].copy().view(np.uint64), np.stack([halves[:, 1], halves[:, 0] + 1], 1))


@pytest.mark.parametrize("size", [0, 4, 8, 12, 16])
def test_copy_async_fills_with_zeros(size: int, architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(1, 255, 512).astype(np.uint8), np.zeros(128, np.int32)
    kernels("memory", architecture).launch("copy_async", 1, 32, a, result, size)
    expected = a.reshape(32, 16).copy()
    expected[16:, size:] = 0
    np.testing.assert_array_equal(result.view(np.uint8).reshape(32, 16), expected)


def test_copy_async_reads_only_the_given_bytes(architecture: int) -> None:
    """The upper half of the warp reads nothing, so that half of the array need not exist."""
    a, result = np.ones(256, np.uint8), np.zeros(128, np.int32)
    kernels("memory", architecture).launch("copy_async", 1, 32, a, result, 0)
    np.testing.assert_array_equal(result, [0x01010101] * 64 + [0] * 64)


def test_atomics_64(architecture: int, rng: np.random.Generator) -> None:
    a = random_bits(rng, 256, np.uint32)
    x = a.astype(np.uint64) << np.uint64(20) ^ a
    totals, old = np.array([0, 2**64 - 1, 0, 0, 0, 0, 0], np.uint64), np.zeros(256, np.uint64)
    totals.view(np.int64)[6] = -(2**62)
    kernels("memory", architecture).launch("atomics_64", 2, 128, a, totals, old)
    assert totals[:6].tolist() == [
        x.max(), x.min(), x.sum(dtype=np.uint64), np.bitwise_xor.reduce(x), 256, (x & np.uint64(7)).sum()
    ]  # fmt: skip
    assert totals.view(np.int64)[6] == x.astype(np.int64).max() - 2**40
    np.testing.assert_array_equal(np.sort(old), np.arange(256))


def test_atomics_32(architecture: int, rng: np.random.Generator) -> None:
    a = random_bits(rng, 256, np.uint32)
    totals = np.array([0xFFFFFFFF, 0, 0, 0, 0, 5, 0], np.uint32)
    kernels("memory", architecture).launch("atomics_32", 2, 128, a, totals)
    counted_down = 0
    for _ in range(256):
        counted_down = 10 if counted_down == 0 else counted_down - 1
    expected = [np.bitwise_and.reduce(a), np.bitwise_or.reduce(a), 256 % 11, counted_down, 77,
                min(5, int(a.view(np.int32).min())) & 0xFFFFFFFF, -3 * 256 & 0xFFFFFFFF]  # fmt: skip
    assert totals.tolist() == expected


def test_atomics_of_floats(architecture: int, rng: np.random.Generator) -> None:
    a = random_bits(rng, 256, np.uint32)
    single, double = np.zeros(1, np.float32), np.zeros(1)
    halves, short = np.zeros(2, np.float16), np.zeros(2, np.uint16)
    kernels("memory", architecture).launch("atomics_of_floats", 2, 128, a, single, double, halves, short)
    assert (single[0], double[0], *halves, short[0]) == (256, (a & 1023).sum(), 256, 512, 7)


def test_histogram(architecture: int, rng: np.random.Generator) -> None:
    a, bins = rng.integers(0, 256, 20000).astype(np.uint8), np.zeros(256, np.int32)
    kernels("memory", architecture).launch("histogram", 8, 256, a, bins, a.size)
    np.testing.assert_array_equal(bins, np.bincount(a, minlength=256))


def test_constant_device_and_local_memory(architecture: int, rng: np.random.Generator) -> None:
    """Runs twice: the kernel resets its counter to zero."""
    for blocks in (8, 5):
        a, partial = rng.random(blocks, np.float32), np.zeros(blocks, np.float32)
        result = np.zeros(1, np.float32)
        kernels("memory", architecture).launch("last_block", blocks, 64, a, partial, result, blocks)
        table = np.array([1, 2, 3, 4], np.float32)[(np.arange(blocks) + (blocks & 3)) & 3]
        np.testing.assert_array_equal(partial, a * table)
        assert result[0] == pytest.approx((a * table).sum(), rel=1e-6)  # summed in another order
