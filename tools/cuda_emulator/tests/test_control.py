"""Divergence, branch tables, calls, and thread indices; the kernels are in kernels/control.cu."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.cuda_emulator import CudaEmulatorError, Module

from .conftest import kernels
from .oracles import signed


def _collatz(value: int) -> int:
    steps = 0
    while value > 1 and steps <= 200:
        value = 3 * value + 1 if value & 1 else value >> 1
        steps += 1
    return steps


def test_divergent_loops(architecture: int, rng: np.random.Generator) -> None:
    a, result = rng.integers(1, 1000, 32).astype(np.int32), np.zeros(32, np.int32)
    kernels("control", architecture).launch("collatz", 1, 32, a, result)
    steps = [_collatz(int(value)) for value in a]
    assert result.tolist() == [steps[lane] + 1000 * steps[lane ^ 1] for lane in range(32)]


def test_table_of_branches(architecture: int, rng: np.random.Generator) -> None:
    n = 1000
    a, result = rng.integers(0, 1 << 20, n).astype(np.int32), np.zeros(n, np.int32)
    kernels("control", architecture).launch("interpret", 8, 128, a, result, n)
    for i in range(n):
        stack, total = [int(a[(i + k) % n]) for k in range(16)], 0
        for k in range(8):
            value = stack[(int(a[i]) + k * 5) & 15]
            cases = [total + value, total - 3, total ^ value, total + stack[value & 15], total * 3, total + 17,
                     total - value, total + k]  # fmt: skip
            case = int(math.fmod(value, 9))  # like C's %
            total = signed(cases[case] if 0 <= case < 8 else total | 1, 32)
            stack[value & 15] = total
        assert result[i] == total


def _weighted_sum(count: int, weight: int) -> tuple[int, int]:
    """Return the sum and the value of `seen`, which stays 7 if the function returns early."""
    total = 0
    for i in range(count):
        total += weight * i
        if total > 1000:
            return total - 1000, 7
    return total, total


def test_calls_under_a_condition(architecture: int) -> None:
    result = np.zeros(64, np.int32)
    kernels("control", architecture).launch("calls", 1, 64, result)
    for i, found in enumerate(result):
        total, seen = _weighted_sum(i, 3 if i & 1 else 50)
        assert found == (total + seen if i & 1 else 2 * total - seen)


def test_call_that_not_all_lanes_make() -> None:
    """The compiler branches around calls, but PTX may also guard them with a predicate."""
    module = Module(
        """.version 8.0 .target sm_80 .address_size 64
        .func (.param .b32 result) add_five(.param .b32 x) {
            .reg .b32 %r<3>;
            ld.param.u32 %r1, [x]; add.u32 %r2, %r1, 5; st.param.b32 [result], %r2; ret;
        }
        .visible .entry k(.param .u64 p) {
            .reg .b64 %rd<4>; .reg .b32 %r<4>; .reg .pred %p<2>;
            .param .b32 argument; .param .b32 found;
            ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;
            st.param.b32 [argument], %r1; st.param.b32 [found], 1000;
            setp.lt.u32 %p1, %r1, 7;
            @%p1 call (found), add_five, (argument);
            ld.param.b32 %r2, [found]; st.global.u32 [%rd3], %r2; ret;
        }"""
    )
    result = np.zeros(32, np.int32)
    module.launch("k", 1, 32, result)
    assert result.tolist() == [i + 5 if i < 7 else 1000 for i in range(32)]


def test_dynamic_shared_memory(architecture: int, rng: np.random.Generator) -> None:
    n = 128
    a, b = (rng.random((n, n), np.float32) for _ in range(2))
    c = np.zeros((n, n), np.float32)
    kernels("control", architecture).launch("multiply", (2, 2), 256, a, b, c, n, dynamic_shared=2 * 16 * 64 * 4)
    np.testing.assert_allclose(c, a.astype(float) @ b.astype(float), rtol=1e-5)  # 128 additions in float


def test_dynamic_shared_memory_is_aligned_and_complete_behind_static(architecture: int) -> None:
    """All of its bytes can be used, although the alignment leaves a gap before it."""
    words, result = 512, np.zeros(3, np.int32)
    module = kernels("control", architecture)
    module.launch("dynamic_behind_static", 1, 32, result, words, dynamic_shared=4 * words)
    assert result.tolist() == [0, words - 1, 7]
    with pytest.raises(CudaEmulatorError, match="out-of-bounds shared"):
        module.launch("dynamic_behind_static", 1, 32, result, words + 1, dynamic_shared=4 * words)


def test_positions(architecture: int) -> None:
    grid, block = (2, 3, 4), (5, 4, 3)
    result = np.zeros(np.prod(grid) * np.prod(block), np.int32)
    kernels("control", architecture).launch("positions", grid, block, result)
    expected = [
        x + 10 * y + 100 * z + 1000 * i + 10000 * j + 100000 * k
        for k in range(4) for j in range(3) for i in range(2)
        for z in range(3) for y in range(4) for x in range(5)
    ]  # fmt: skip
    assert result.tolist() == expected
