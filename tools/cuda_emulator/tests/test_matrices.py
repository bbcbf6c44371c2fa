"""Matrix products of every type of factor; the kernels are in kernels/matrices.cu."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import kernels
from .oracles import Array, bf16_bits, bf16_values


def _launch(kernel: str, a: Array, b: Array, c: Array) -> Array:
    kernels("matrices").launch(kernel, 1, 32, a, b, c)
    return c


def test_halves(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((16, 16)).astype(np.float16), rng.standard_normal((16, 8)).astype(np.float16)
    found = _launch("multiply_halves", a, b, np.zeros((16, 8), np.float32))
    # Summed in double, then rounded to float.
    np.testing.assert_array_equal(found, (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32))


def test_bytes(rng: np.random.Generator) -> None:
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((16, 32), (8, 32)))
    found = _launch("multiply_bytes", a, b, np.zeros((16, 8), np.int32))
    np.testing.assert_array_equal(found, a.astype(int) @ b.T.astype(int))


def test_doubles(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((8, 4)), rng.standard_normal((4, 8))
    found = _launch("multiply_doubles", a, b, np.zeros((8, 8)))
    np.testing.assert_allclose(found, a @ b, rtol=1e-13)  # four roundings, in another order


@pytest.mark.parametrize(
    ("kernel", "m", "n", "k"),
    [("wmma_halves", 16, 16, 16), ("wmma_half_sums", 16, 16, 16), ("wmma_bf16", 16, 16, 16), ("wmma_bytes", 32, 8, 16)],
)
def test_wmma(kernel: str, m: int, n: int, k: int, rng: np.random.Generator) -> None:
    """The result is twice the product, because the kernel adds each fragment to itself."""
    a: Array
    b: Array
    c: Array
    if kernel == "wmma_bytes":
        a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((m, k), (k, n)))
        exact, c = 2 * (a.astype(int) @ b.astype(int)), np.zeros((m, n), np.int32)
    elif kernel == "wmma_bf16":
        a, b = (bf16_bits(rng.standard_normal(shape)) for shape in ((m, k), (k, n)))
        exact, c = 2 * bf16_values(a).astype(float) @ bf16_values(b).astype(float), np.zeros((m, n), np.float32)
    else:
        a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((m, k), (k, n)))
        exact = 2 * a.astype(float) @ b.astype(float)
        c = np.zeros((m, n), np.float32 if kernel == "wmma_halves" else np.float16)
    np.testing.assert_array_equal(_launch(kernel, a, b, c), exact.astype(c.dtype))


def test_tf32_has_ten_bits(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((16, 8)).astype(np.float32), rng.standard_normal((8, 16)).astype(np.float32)
    found = _launch("wmma_tf32", a, b, np.zeros((16, 16), np.float32))
    cut = [(x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(float) for x in (a, b)]
    np.testing.assert_array_equal(found, (cut[0] @ cut[1]).astype(np.float32))
