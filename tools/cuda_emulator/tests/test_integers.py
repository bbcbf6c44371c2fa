"""Integer arithmetic, logic, bit fields and bytes; kernels/integers.cu has one kernel per operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tools.cuda_emulator import Module

from .conftest import kernels
from .oracles import random_bits, signed, truncated_quotient

COUNT = 256
M32 = 0xFFFFFFFF


def _bytes(value: int, bits: int = 8, sign: bool = False, count: int = 4) -> list[int]:
    parts = [value >> (bits * i) & ((1 << bits) - 1) for i in range(count)]
    return [signed(part, bits) for part in parts] if sign else parts


def _reversed(value: int) -> int:
    return int(f"{value & M32:032b}"[::-1], 2)


def _extract(value: int, position: int, length: int, bits: int, sign: bool) -> int:
    value &= (1 << bits) - 1
    fill = sign and length > 0 and value >> min(position + length - 1, bits - 1) & 1
    taken = [value >> (position + i) & 1 if i < length and position + i < bits else int(fill) for i in range(bits)]
    return sum(bit << i for i, bit in enumerate(taken))


def _insert(value: int, into: int, position: int, length: int, bits: int) -> int:
    for i in range(length):
        if position + i < bits:
            into = into & ~(1 << position + i) | (value >> i & 1) << position + i
    return into


def _permute(x: int, y: int, selectors: list[int]) -> int:
    source = [*_bytes(x), *_bytes(y)]
    taken = [(0xFF if source[s & 7] & 0x80 else 0) if s & 8 else source[s & 7] for s in selectors]
    return sum(byte << (8 * i) for i, byte in enumerate(taken))


def _by_index(x: int, y: int) -> list[int]:
    return _bytes(x ^ y, 4)


# Functions of unsigned or signed values of the kernel's type; results are compared as bits.
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add_u32": lambda x, y: x + y,
    "subtract_u32": lambda x, y: x - y,
    "multiply_u32": lambda x, y: x * y + 7,
    "multiply_high_u32": lambda x, y: x * y >> 32,
    "multiply_high_s32": lambda x, y: x * y >> 32,
    "multiply_24_u32": lambda x, y: (x & 0xFFFFFF) * (y & 0xFFFFFF),
    "multiply_24_s32": lambda x, y: signed(x, 24) * signed(y, 24),
    "divide_u32": lambda x, y: x // (y | 1),
    "remainder_u32": lambda x, y: x % (y | 1),
    "divide_s32": lambda x, y: truncated_quotient(x, y | 1),
    "remainder_s32": lambda x, y: x - (y | 1) * truncated_quotient(x, y | 1),
    "minimum_s32": min,
    "maximum_u32": max,
    "absolute_s32": lambda x, y: abs(x) - y,
    "shift_left_u32": lambda x, y: x << (y & 31),
    "shift_right_u32": lambda x, y: x >> (y & 31),
    "shift_right_s32": lambda x, y: x >> (y & 31),
    "logic_u32": lambda x, y: (x & ~y) | (~x & y & 0x0FF0FF0F),
    "funnel_left_u32": lambda x, y: (y << 32 | x) << (y & 31) >> 32,
    "funnel_right_u32": lambda x, y: (y << 32 | x) >> (x & 31),
    "reverse_u32": lambda x, y: _reversed(x) ^ y,
    "leading_zeros_u32": lambda x, y: 32 - (x & y).bit_length(),
    "ones_u32": lambda x, y: (x ^ y).bit_count(),
    "first_set_u32": lambda x, y: (x & y & -(x & y)).bit_length(),
    "difference_u32": lambda x, y: abs(x - y) + 7,
    "difference_s32": lambda x, y: abs(x - y) + 3,
    "bytes_apart_u32": lambda x, y: sum(
        abs(p - q) << (8 * i) for i, (p, q) in enumerate(zip(_bytes(x), _bytes(y), strict=True))
    ),
    "bytes_apart_sum_u32": lambda x, y: sum(abs(p - q) for p, q in zip(_bytes(x), _bytes(y), strict=True)),
    "dot_bytes_s32": lambda x, y: (
        5 + sum(p * q for p, q in zip(_bytes(x, sign=True), _bytes(y, sign=True), strict=True))
    ),
    "dot_halves_s32": lambda x, y: (
        5 + sum(p * q for p, q in zip(_bytes(x, 16, True, 2), _bytes(y, 8, True)[2:], strict=True))
    ),
    # Without the bit that selects the sign, which __byte_perm masks.
    "permute_u32": lambda x, y: _permute(x, y, [s & 7 for s in _by_index(x, y)]),
    "permute_f4e": lambda x, y: _permute(x, y, [((x ^ y) & 3) + i for i in range(4)]),
    "permute_b4e": lambda x, y: _permute(x, y, [(((x ^ y) & 3) - i) & 7 for i in range(4)]),
    "permute_rc8": lambda x, y: _permute(x, y, [(x ^ y) & 3] * 4),
    "permute_ecl": lambda x, y: _permute(x, y, [max(i, (x ^ y) & 3) for i in range(4)]),
    "permute_ecr": lambda x, y: _permute(x, y, [min(i, (x ^ y) & 3) for i in range(4)]),
    "permute_rc16": lambda x, y: _permute(x, y, [2 * ((x ^ y) & 1) + (i & 1) for i in range(4)]),
    "multiply_u64": lambda x, y: x * y,
    "multiply_high_u64": lambda x, y: x * y >> 64,
    "multiply_wide_s64": lambda x, y: signed(x, 32) * signed(y, 32) + y,
    "divide_u64": lambda x, y: x // (y | 1),
    "remainder_s64": lambda x, y: x - (y | 1) * truncated_quotient(x, y | 1),
    "carry_u64": lambda x, y: x * y + (y << 64 | x) >> 64,
    "borrow_u64": lambda x, y: (x << 64 | y) - (y << 64 | x) >> 64,
    "extract_u32": lambda x, y: _extract(x, y & 255, y >> 8 & 255, 32, False),
    "extract_s32": lambda x, y: _extract(x, y & 255, y >> 8 & 255, 32, True),
    "extract_s64": lambda x, y: _extract(x, y & 255, y >> 8 & 255, 64, True),
    "insert_u32": lambda x, y: _insert(x, y, y & 255, y >> 8 & 255, 32),
    "insert_u64": lambda x, y: _insert(x, y, y & 255, y >> 8 & 255, 64),
    "leading_bit_u32": lambda x, y: (x & y).bit_length() - 1,
    "leading_bit_shift_s32": lambda x, y: _sign_shift(x & y),
}


def _sign_shift(value: int) -> int:
    """Return the shift after which the bit next to the sign bit differs from it."""
    magnitude = ~value if value < 0 else value
    return 31 - (magnitude.bit_length() - 1) if magnitude else M32


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str, architecture: int, rng: np.random.Generator) -> None:
    dtype: Any = {"s32": np.int32, "u64": np.uint64, "s64": np.int64}.get(name[-3:], np.uint32)
    a, b = random_bits(rng, COUNT, dtype), random_bits(rng, COUNT, dtype)
    if name.startswith(("extract", "insert")):  # positions and lengths that fit, most of the time
        b[::2] = b[::2] & ~dtype(0xC0C0)
    result = np.zeros(COUNT, dtype)
    kernels("integers", architecture).launch(name, 2, COUNT // 2, a, b, result)
    mask = (1 << 8 * result.itemsize) - 1
    expected = [OPERATIONS[name](int(x), int(y)) & mask for x, y in zip(a, b, strict=True)]
    assert [int(value) & mask for value in result] == expected


def test_division_by_zero_gives_all_ones(architecture: int) -> None:
    """The kernel divides by y | 1, so zero, and the smallest integer by -1, are tested with other PTX."""
    module = Module(
        """.version 8.0 .target sm_80 .address_size 64
        .visible .entry divide(.param .u64 p, .param .s32 x, .param .s32 y) {
            .reg .b64 %rd<2>; .reg .b32 %r<6>;
            ld.param.u64 %rd1, [p]; ld.param.s32 %r1, [x]; ld.param.s32 %r2, [y];
            div.s32 %r3, %r1, %r2; rem.s32 %r4, %r1, %r2; div.u32 %r5, %r1, %r2;
            st.global.v2.u32 [%rd1], {%r3, %r4}; st.global.u32 [%rd1+8], %r5; ret;
        }"""
    )
    result = np.zeros(4, np.uint32)
    module.launch("divide", 1, 1, result, 17, 0)
    assert result.tolist()[:3] == [M32, 17, M32]
    module.launch("divide", 1, 1, result, -(2**31), -1)
    assert result.tolist()[:3] == [2**31, 0, 0]
