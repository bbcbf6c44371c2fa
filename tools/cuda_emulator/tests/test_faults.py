"""Faults that the emulator detects, and its messages; each kernel of kernels/faults.cu has one fault."""

from __future__ import annotations

import numpy as np
import pytest

from tools.cuda_emulator import CudaEmulatorError, Module

from .conftest import kernels
from .oracles import Array


def _fault(kernel: str, *arguments: Array | int, block: int = 32, grid: int = 1) -> str:
    with pytest.raises(CudaEmulatorError) as raised:
        kernels("faults").launch(kernel, grid, block, *arguments)
    return str(raised.value)


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable race detection, which is off in the other tests of this module."""
    monkeypatch.setenv("CUDA_EMULATOR_RACE", "1")


@pytest.fixture
def no_races(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_EMULATOR_RACE", "0")


@pytest.mark.parametrize("offset", [-1, 1, 1 << 20])
def test_out_of_bounds(offset: int) -> None:
    """One element out of bounds is detected. The message has the thread, the PTX and the source line."""
    a = np.zeros(32, np.int32)
    kernels("faults").launch("out_of_bounds", 1, 32, a, 0)
    assert a.tolist() == [1] * 32
    message = _fault("out_of_bounds", a, offset)
    thread = 0 if offset != 1 else 31
    assert f"out-of-bounds address 0x{a.ctypes.data + 4 * (thread + offset):x}" in message
    assert f"block(0,0,0) thread({thread},0,0), kernel 'out_of_bounds', PTX line" in message
    assert "(faults.cu:" in message
    assert "st.global" in message


def test_shared_out_of_bounds() -> None:
    assert _fault("shared_out_of_bounds", np.zeros(32, np.int32)).startswith("out-of-bounds shared")


def test_local_out_of_bounds() -> None:
    a = np.zeros(32, np.int32)
    kernels("faults").launch("local_out_of_bounds", 1, 1, a, 3)
    assert a[0] == 4
    assert _fault("local_out_of_bounds", np.zeros(32, np.int32), 4).startswith("out-of-bounds local")


@pytest.mark.parametrize("kernel", ["misaligned", "misaligned_vector"])
def test_misaligned(kernel: str) -> None:
    assert _fault(kernel, np.zeros(32, np.int64), block=1).startswith("misaligned address")


def test_divergent_barrier() -> None:
    message = _fault("divergent_barrier", np.zeros(32, np.int32))
    assert message.startswith("deadlock (divergent barrier or incomplete warp mask)")


def test_lane_that_is_absent() -> None:
    """Lanes that exit while others wait for them, and lanes that do not exist in a block of 24 threads."""
    a = np.zeros(32, np.int32)
    assert _fault("absent_lane", a).startswith("deadlock (divergent barrier or incomplete warp mask)")
    assert _fault("absent_lane", a, block=24).startswith("warp operation names lanes that have exited or do not exist")


def test_lane_outside_its_mask() -> None:
    assert _fault("not_in_own_mask", np.zeros(32, np.int32)).startswith("lane is not in its own member mask")


@pytest.mark.usefixtures("races")
@pytest.mark.parametrize(
    ("kernel", "what"),
    [
        ("write_then_read", "read after write"),
        ("read_then_write", "write after read"),
        ("write_twice", "write/write"),
    ],
)
def test_race(kernel: str, what: str) -> None:
    message = _fault(kernel, np.zeros(64, np.int32), block=64)
    assert message.startswith(f"shared-memory race ({what}, no barrier)")


@pytest.mark.usefixtures("races")
@pytest.mark.parametrize(
    ("kernel", "what"),
    [("lane_writes_then_others_read", "read after write"), ("lanes_read_then_one_writes", "write after read")],
)
def test_race_within_a_warp(kernel: str, what: str) -> None:
    message = _fault(kernel, np.zeros(32, np.int32))
    assert message.startswith(f"shared-memory race within a warp ({what}, no __syncwarp)")


@pytest.mark.usefixtures("races")
def test_warp_synchronisation_makes_no_race() -> None:
    a = np.zeros(32, np.int32)
    kernels("faults").launch("no_race_within_a_warp", 1, 32, a)
    assert a.tolist() == [7 + i for i in range(32)]


@pytest.mark.usefixtures("races")
def test_barriers_make_no_race() -> None:
    a = np.zeros(64, np.int32)
    kernels("faults").launch("no_race", 1, 64, a)
    assert a.tolist() == [63 - i + 1 for i in range(64)]


@pytest.mark.usefixtures("no_races")
def test_races_are_not_detected_by_default() -> None:
    kernels("faults").launch("write_twice", 1, 64, np.zeros(64, np.int32))


@pytest.mark.parametrize(("kernel", "grid"), [("endless", 1), ("waits_for_next_block", 2)])
def test_hang(kernel: str, grid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_EMULATOR_MAX_INST", "100000")
    message = _fault(kernel, np.zeros(1, np.int32), block=1, grid=grid)
    assert "a block ran over CUDA_EMULATOR_MAX_INST warp instructions" in message
    kernels("faults").launch(kernel, grid, 1, np.ones(1, np.int32))


def test_trap() -> None:
    a = np.zeros(32, np.int32)
    kernels("faults").launch("trapped", 1, 32, a)
    a[9] = 1
    assert "trap, block(0,0,0) thread(9,0,0)" in _fault("trapped", a)


def test_uninitialised_memory_shows() -> None:
    a = np.zeros(32, np.uint32)
    kernels("faults").launch("uninitialised", 1, 32, a)
    assert set(a.tolist()) == {0xCDCDCDCD}


def test_unsupported_instruction_is_named_where_it_is_executed() -> None:
    message = _fault("unsupported", np.zeros(32, np.int32))
    assert "unsupported PTX instruction" in message
    assert "mbarrier.init" in message
    assert message.split("PTX line ")[1] in "\n".join(kernels("faults").unsupported())


def test_invalid_launches() -> None:
    a, module = np.zeros(32, np.int32), kernels("faults")
    for arguments, what in (
        ((1, 1025, a), "block of 1025 threads"),
        ((1, 0, a), "block of 0 threads"),
        ((1, 32, a, a), "takes 1 parameters, got 2"),
    ):
        with pytest.raises(CudaEmulatorError, match=what):
            module.launch("trapped", *arguments)
    with pytest.raises(CudaEmulatorError, match="shared memory over 227 KiB"):
        module.launch("trapped", 1, 32, a, dynamic_shared=228 * 1024)
    with pytest.raises(CudaEmulatorError, match="no kernel absent"):
        module.launch("absent", 1, 32, a)
    with pytest.raises(CudaEmulatorError, match="parameter 1 of out_of_bounds has 4 bytes, got 8"):
        module.launch("out_of_bounds", 1, 1, a, bytes(8))


def test_invalid_ptx() -> None:
    with pytest.raises(CudaEmulatorError, match="PTX syntax error at line 2"):
        Module(".version 8.0\nhello")
    with pytest.raises(CudaEmulatorError, match="k, PTX line 2: unknown label: bra nowhere"):
        Module(".visible .entry k() {\n bra nowhere; }")


# Stores reach other blocks when PTX's memory model says so, and not before.
BLOCKS, THREADS = 4, 64


def _sum(kernel: str) -> int:
    parts, tickets, total = np.zeros(BLOCKS * THREADS, np.int32), np.zeros(1, np.uint32), np.zeros(1, np.int32)
    kernels("faults").launch(kernel, BLOCKS, THREADS, parts, tickets, total)
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
