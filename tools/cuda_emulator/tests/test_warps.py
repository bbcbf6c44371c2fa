"""Shuffles, votes, reductions and barriers; the kernels are in kernels/warps.cu, CUB's in kernels/blocks.cu."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import kernels

LANES = np.arange(32)


def _mask(lanes: list[int]) -> int:
    return sum(1 << lane for lane in lanes)


def test_shuffles(architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(0, 2**32, 32).astype(np.uint32), np.zeros((32, 6), np.uint32)
    kernels("warps", architecture).launch("shuffles", 1, 32, a, result)
    sources = [
        np.full(32, 5),
        np.where(LANES % 8 >= 3, LANES - 3, LANES),
        np.where(LANES < 30, LANES + 2, LANES),
        LANES ^ 9,
        LANES // 16 * 16 + LANES * 7 % 16,
        LANES ^ 1,
    ]
    for column, source in enumerate(sources):
        expected = np.where((column == 5) & (LANES < 8), 0, a[source])
        np.testing.assert_array_equal(result[:, column], expected)


def test_votes(architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(0, 32, 32).astype(np.uint32), np.zeros((32, 7), np.uint32)
    kernels("warps", architecture).launch("votes", 1, 32, a, result)
    odd = _mask([lane for lane in range(32) if a[lane] & 1])
    equal = [_mask([other for other in range(32) if a[other] & 3 == a[lane] & 3]) for lane in range(32)]
    assert set(result[:, 0]) == {odd}
    assert set(result[:, 1]) == {int((a == 5).any()) + 2 + 4 * int((a > 9).all())}
    assert result[:, 2].tolist() == equal
    assert set(result[:, 3]) == {0xFFFFFFFF + 1 & 0xFFFFFFFF}  # the mask, plus true: all lanes agree
    assert result[:, 4].tolist() == [odd if value & 1 else 0 for value in a]
    assert set(result[:, 5]) == {0}
    assert result[:, 6].tolist() == [(1 << lane) - 1 for lane in range(32)]


def test_reductions(architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(0, 2**32, 32).astype(np.uint32), np.zeros((32, 6), np.uint32)
    kernels("warps", architecture).launch("reductions", 1, 32, a, result)
    assert set(result[:, 0]) == {a.sum(dtype=np.uint32)}
    assert set(result[:, 1].view(np.int32)) == {a.view(np.int32).max()}
    assert set(result[:, 2]) == {np.bitwise_xor.reduce(a)}
    assert set(result[:, 3]) == {np.bitwise_and.reduce(a)}
    assert result[:, 4].tolist() == [a[:8].min()] * 8 + [a[8:].min()] * 24
    assert result[:, 5].tolist() == [a[:16].sum(dtype=np.uint32)] * 16 + [a[16:].sum(dtype=np.uint32)] * 16


@pytest.mark.parametrize("kernel", ["sum_shared", "sum_shuffled"])
def test_sums_of_blocks(kernel: str, architecture: int, rng: np.random.Generator) -> None:
    a, sums = rng.random(5000, np.float32), np.zeros(20, np.float32)
    kernels("warps", architecture).launch(kernel, 20, 256, a, sums, a.size)
    padded = np.zeros(20 * 256)
    padded[: a.size] = a
    np.testing.assert_allclose(sums, padded.reshape(20, 256).sum(1), rtol=1e-5)  # 256 additions in float


def test_compaction(architecture: int, rng: np.random.Generator) -> None:
    a = rng.integers(0, 1000, 3000).astype(np.int32)
    kept, count = np.zeros_like(a), np.zeros(1, np.int32)
    kernels("warps", architecture).launch("compact", 24, 128, a, kept, count, a.size)
    np.testing.assert_array_equal(np.sort(kept[: count[0]]), np.sort(a[a % 2 == 1]))
    assert not kept[count[0] :].any()


@pytest.mark.parametrize("high", [90, 95, 105])
def test_barriers_that_reduce(high: int, architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(0, high, 128).astype(np.int32), np.zeros((128, 3), np.int32)
    kernels("warps", architecture).launch("barriers", 1, 128, a, result)
    count = int((a & 1).sum())
    assert result[:, 0].tolist() == [count + a[0]] * 64 + [count] * 64
    assert set(result[:, 1]) == {int((a < 100).all())}
    assert set(result[:, 2]) == {int((a > 90).any())}


def test_sort_in_block(rng: np.random.Generator) -> None:
    a, result = rng.integers(0, 2**32, 1024).astype(np.uint32), np.zeros(1024, np.uint32)
    kernels("blocks").launch("sort_block", 2, 128, a, result)
    np.testing.assert_array_equal(result, np.sort(a.reshape(2, 512), 1).ravel())


def test_scan_in_block(rng: np.random.Generator) -> None:
    a, result = rng.integers(0, 100, 256).astype(np.int32), np.zeros(256, np.int32)
    kernels("blocks").launch("scan_block", 2, 128, a, result)
    np.testing.assert_array_equal(result, np.cumsum(a.reshape(2, 128), 1).ravel())
