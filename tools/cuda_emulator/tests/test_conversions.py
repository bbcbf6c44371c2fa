"""Conversions between formats, with every rounding and saturation; the kernels are in kernels/conversions.cu."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .conftest import kernels
from .oracles import Array, bf16_bits, bf16_values, random_bits, random_floats, rounded

COUNT = 256


def _finite_floats(rng: np.random.Generator) -> Array:
    values = random_floats(rng, COUNT, special=False)
    values[:40] = (rng.standard_normal(40) * 2.0 ** rng.integers(-28, -10, 40)).astype(np.float32)  # subnormal halves
    return values


def test_float_to_short_formats(architecture: int, rng: np.random.Generator) -> None:
    a, result = _finite_floats(rng), np.zeros((COUNT, 5), np.uint16)
    kernels("conversions", architecture).launch("float_to_short_formats", 2, COUNT // 2, a, result)
    exact, halves = a.astype(np.float64), result[:, :3].copy().view(np.float16)
    nearest = a.astype(np.float16)
    np.testing.assert_array_equal(halves[:, 0], nearest)
    towards = np.where(abs(nearest.astype(np.float64)) > abs(exact), np.nextafter(nearest, np.float16(0)), nearest)
    np.testing.assert_array_equal(halves[:, 1], towards)
    above = np.where(nearest.astype(np.float64) < exact, np.nextafter(nearest, np.float16(np.inf)), nearest)
    np.testing.assert_array_equal(halves[:, 2], above)
    np.testing.assert_array_equal(result[:, 3], bf16_bits(exact))
    np.testing.assert_array_equal(result[:, 4], a.view(np.uint32) >> 16)


def test_every_half_and_bf16_to_float(architecture: int) -> None:
    a, result = np.arange(65536, dtype=np.uint16), np.zeros((65536, 2), np.float32)
    kernels("conversions", architecture).launch("half_to_float", 256, 256, a, result)
    np.testing.assert_array_equal(result[:, 0], a.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(result[:, 1], bf16_values(a))


def test_float_to_integer(architecture: int, rng: np.random.Generator) -> None:
    """Values that are too large saturate; NaN becomes 0."""
    a = random_floats(rng, COUNT)
    a[10:20] = [2.5, 3.5, -2.5, -0.5, 3e9, -3e9, 5e9, 40000.5, -40000.5, 2147483520.0]
    result = np.zeros((COUNT, 6), np.int32)
    kernels("conversions", architecture).launch("float_to_integer", 2, COUNT // 2, a, result)

    def clamped(values: Array, bits: int, signed: bool = True) -> Array:
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return np.where(np.isnan(values), 0, np.clip(values.astype(np.float64), low, high)).astype(np.int64)

    for column, function in enumerate((np.rint, np.trunc, np.floor, np.ceil)):
        np.testing.assert_array_equal(result[:, column], clamped(function(a), 32))
    np.testing.assert_array_equal(result[:, 4].astype(np.uint32), clamped(np.rint(a), 32, signed=False))
    np.testing.assert_array_equal(result[:, 5], clamped(np.trunc(a), 16))


def test_float_to_long(architecture: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal(COUNT) * 10.0 ** rng.integers(0, 22, COUNT)
    result = np.zeros((COUNT, 2), np.int64)
    kernels("conversions", architecture).launch("float_to_long", 2, COUNT // 2, a, result)
    assert result[:, 0].tolist() == [max(-(2**63), min(2**63 - 1, math.trunc(x))) for x in a]
    assert result[:, 1].view(np.uint64).tolist() == [max(0, min(2**64 - 1, round(x))) for x in a]


def test_integer_to_float(architecture: int, rng: np.random.Generator) -> None:
    a = random_bits(rng, COUNT, np.int64)
    result, doubles = np.zeros((COUNT, 4), np.float32), np.zeros(COUNT)
    kernels("conversions", architecture).launch("integer_to_float", 2, COUNT // 2, a, result, doubles)
    for value, found, double in zip(a, result, doubles, strict=True):
        x, low = int(value), int(value.astype(np.int32))
        assert found[0] == rounded(Fraction(x), np.float32, None)
        assert found[1] == rounded(Fraction(x), np.float32, False)
        assert found[2] == rounded(Fraction(x % 2**64), np.float32, True)
        assert found[3] == rounded(Fraction(low), np.float32, low < 0)
        assert double == float(x)


def test_double_to_float(architecture: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal(COUNT) * 10.0 ** rng.integers(-3, 4, COUNT)
    result = np.zeros((COUNT, 3), np.float32)
    kernels("conversions", architecture).launch("double_to_float", 2, COUNT // 2, a, result)
    for value, found in zip(a, result, strict=True):
        assert [rounded(Fraction(value), np.float32, up) for up in (None, False, True)] == found.tolist()


def test_round_to_integral(architecture: int, rng: np.random.Generator) -> None:
    a, result = random_floats(rng, COUNT), np.zeros((COUNT, 4), np.float32)
    a[10:13] = [0.5, 1.5, -2.5]
    kernels("conversions", architecture).launch("round_to_integral", 2, COUNT // 2, a, result)
    for column, function in enumerate((np.rint, np.trunc, np.floor, np.ceil)):
        np.testing.assert_array_equal(result[:, column], function(a))


def test_narrow_integers(architecture: int, rng: np.random.Generator) -> None:
    a, b = (rng.integers(-(10**5), 10**5, COUNT).astype(np.int32) for _ in range(2))
    a[::3] %= 400
    result = np.zeros((COUNT, 5), np.int32)
    kernels("conversions", architecture).launch("narrow_integers", 2, COUNT // 2, a, b, result)
    np.testing.assert_array_equal(result[:, 0], a.astype(np.int8))
    np.testing.assert_array_equal(result[:, 1], a.astype(np.uint16))
    np.testing.assert_array_equal(result[:, 2], np.clip(a, -128, 127))
    bytes_ = np.clip(a, 0, 255).astype(np.int64) << 8 | np.clip(b, 0, 255) | 0x12340000
    np.testing.assert_array_equal(result[:, 3], bytes_)
    halves = np.stack([np.clip(b, -32768, 32767), np.clip(a, -32768, 32767)], 1).astype(np.int16)
    np.testing.assert_array_equal(result[:, 4], halves.view(np.int32)[:, 0])


def test_pack_halves(architecture: int, rng: np.random.Generator) -> None:
    a, b = _finite_floats(rng), _finite_floats(rng)
    result = np.zeros((COUNT, 4), np.uint32)
    kernels("conversions", architecture).launch("pack_halves", 2, COUNT // 2, a, b, result)
    pairs = np.stack([b, a], 1)  # the first operand is the upper half

    def half_bits(values: Array) -> Array:
        return values.astype(np.float16).view(np.uint16).copy().view(np.uint32)[:, 0]

    np.testing.assert_array_equal(result[:, 0], half_bits(pairs))
    relu = np.maximum(pairs, 0)
    np.testing.assert_array_equal(result[:, 1] & 0x7FFF7FFF, half_bits(relu))
    np.testing.assert_array_equal(result[:, 2], b.view(np.uint32) >> 16 | a.view(np.uint32) & 0xFFFF0000)
    np.testing.assert_array_equal(result[:, 3], (a.view(np.uint32) + 0x1000) & 0xFFFFE000)  # ties away from zero
