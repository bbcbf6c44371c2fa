"""Exact arithmetic, number formats and rounding, independent of the emulator."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def random_bits(rng: np.random.Generator, count: int, dtype: Any) -> Array:
    """Return integers of every magnitude, including the extremes; half of them are negative if the type is signed."""
    size = np.dtype(dtype).itemsize
    bits = rng.integers(0, 256, count * size).astype(np.uint8).view(f"u{size}") >> rng.integers(
        0, 8 * size, count
    ).astype(f"u{size}")
    bits = np.where(rng.random(count) < 0.5, ~bits, bits)
    top = (1 << 8 * size) - 1
    bits[:6] = [0, 1, top, top >> 1, (top >> 1) + 1, 5]
    return rng.permutation(bits).view(dtype)


def random_floats(rng: np.random.Generator, count: int, special: bool = True) -> Array:
    """Return float32 values of many magnitudes; with `special`, zeros, infinities and NaN among them."""
    values = (rng.standard_normal(count) * 10.0 ** rng.integers(-3, 4, count)).astype(np.float32)
    if special:
        values[:8] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-41]
    return rng.permutation(values)


def same(found: Array, expected: Array) -> bool:
    """Return whether values are equal; NaN equals NaN."""
    return bool(np.all((found == expected) | (np.isnan(found) & np.isnan(expected))))


def signed(value: int, bits: int) -> int:
    """Convert bits from two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def truncated_quotient(x: int, y: int) -> int:
    """Divide like C, rounding towards zero."""
    return abs(x) // abs(y) * (-1 if (x < 0) != (y < 0) else 1)


def rounded(value: Fraction, dtype: Any, up: bool | None) -> Any:
    """Return the float of a format that is nearest to a rational number, or the nearest one above or below it."""
    nearest = dtype(float(value)) if dtype is np.float64 else _nearest32(value)
    if up is None or not np.isfinite(nearest):
        return nearest
    if up and Fraction(float(nearest)) < value:
        return np.nextafter(nearest, dtype(np.inf))
    if not up and Fraction(float(nearest)) > value:
        return np.nextafter(nearest, dtype(-np.inf))
    return nearest


def _nearest32(value: Fraction) -> np.float32:
    # Conversion through double rounds twice, so the neighbours are candidates too.
    guess = np.float32(float(value))
    candidates = [guess, np.nextafter(guess, np.float32(np.inf)), np.nextafter(guess, np.float32(-np.inf))]
    finite = [candidate for candidate in candidates if np.isfinite(candidate)]
    return min(finite, key=lambda c: (abs(Fraction(float(c)) - value), int(c.view(np.uint32)) & 1))


def bf16_bits(values: Array) -> Array:
    """Round float64 to bfloat16, ties to even; no NaN."""
    result = np.empty(values.shape, np.uint16)
    for index, value in np.ndenumerate(values):
        exact = Fraction(float(value))
        bits = int(np.float32(value).view(np.uint32)) >> 16
        near = [b for b in (bits - 1, bits, bits + 1) if 0 <= b <= 0xFFFF and math.isfinite(_bf16(b))]
        result[index] = min(near, key=lambda b: (abs(Fraction(_bf16(b)) - exact), b & 1))
    return result


def bf16_values(bits: Array) -> Array:
    """Convert bfloat16 bits to float."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _bf16(bits: int) -> float:
    return float(np.uint32(bits << 16).view(np.float32))


def fp8_table(exponent_bits: int, bias: int, largest: float) -> list[float]:
    """Return the values of the positive codes of an 8-bit format, up to the largest finite one."""
    mantissa_bits = 7 - exponent_bits
    values = []
    for code in range(128):
        exponent, mantissa = code >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
        fraction = mantissa / 2**mantissa_bits
        value = (1 + fraction) * 2.0 ** (exponent - bias) if exponent else fraction * 2.0 ** (1 - bias)
        if value <= largest:
            values.append(value)
    return values


E4M3 = fp8_table(4, 7, 448.0)[:127]
E5M2 = fp8_table(5, 15, 57344.0)


def fp8_code(value: float, table: list[float]) -> int:
    """Return the nearest code, ties to even, saturated at the largest one."""
    sign = 0x80 if math.copysign(1, value) < 0 else 0
    return sign | min(range(len(table)), key=lambda code: (abs(table[code] - abs(value)), code & 1))
