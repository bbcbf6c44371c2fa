"""Instructions of newer architectures (kernels/newer.cu), and code of CUDA's headers (kernels/library.cu)."""

from __future__ import annotations

import numpy as np

from .conftest import kernels
from .oracles import E4M3, E5M2, fp8_code, random_bits


def test_relu_of_integers(rng: np.random.Generator) -> None:
    a, b = random_bits(rng, 256, np.int32), random_bits(rng, 256, np.int32)
    result = np.zeros((256, 3), np.int32)
    kernels("newer", 120).launch("relu_integers", 2, 128, a, b, result)
    np.testing.assert_array_equal(result[:, 0], np.maximum(np.maximum(a, b), 0))
    np.testing.assert_array_equal(result[:, 1], np.maximum(np.minimum(a, b), 0))
    halves = np.maximum(np.minimum(a.view(np.int16), b.view(np.int16)), 0).view(np.int32)
    np.testing.assert_array_equal(result[:, 2], halves)


def test_fp8(rng: np.random.Generator) -> None:
    """Includes ties, subnormal numbers and numbers that are too large."""
    a, b = ((rng.standard_normal(256) * 10.0 ** rng.integers(-4, 5, 256)).astype(np.float32) for _ in range(2))
    a[:8] = [0, -0.0, 17, 19, 1e9, 2.0**-10, 3 * 2.0**-10, 447]
    codes, halves = np.zeros((256, 2, 2), np.uint8), np.zeros((256, 2, 2), np.float16)
    kernels("newer", 120).launch("to_fp8", 2, 128, a, b, codes, halves)
    for pair, found, values in zip(np.stack([b, a], 1), codes, halves, strict=True):
        for table, code, value in zip((E4M3, E5M2), found, values, strict=True):
            assert code.tolist() == [fp8_code(float(x), table) for x in pair]
            assert value.tolist() == [table[c & 127] * (-1 if c >> 7 else 1) for c in code.tolist()]


def test_store_and_transpose() -> None:
    result, tile = np.zeros((2, 32), np.uint32), np.arange(64, dtype=np.uint16).reshape(8, 8)
    kernels("newer", 120).launch("store_and_transpose", 1, 32, result)
    np.testing.assert_array_equal(result[0].view(np.uint16), tile.ravel())
    np.testing.assert_array_equal(result[1].view(np.uint16), tile.T.ravel())


def test_one_lane_is_elected() -> None:
    result = np.zeros(32, np.uint32)
    kernels("newer", 120).launch("elected", 1, 32, result)
    assert result.tolist() == [1] + [0] * 31


def test_every_instruction_of_the_headers_is_supported(architecture: int) -> None:
    assert kernels("library", architecture).unsupported() == []
    assert kernels("faults").unsupported() != []
