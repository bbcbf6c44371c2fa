"""How many warps of a kernel a multiprocessor can hold."""

from __future__ import annotations

from dataclasses import dataclass

_REGISTERS = 64 * 1024  # of a multiprocessor, in every architecture below
_REGISTER_UNIT = 256  # registers are given to a warp in such pieces
_PARTITIONS = 4  # of a multiprocessor, each with a quarter of the registers


@dataclass(frozen=True)
class Architecture:
    """Limits of a multiprocessor.

    Source: CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; the units in which
    registers and shared memory are given out and the shared memory that the system keeps are those of the occupancy
    calculator in Nsight Compute (cuda_occupancy.h of the CUDA toolkit computes with the same numbers).
    """

    warps: int
    blocks: int
    shared_kib: int
    block_shared_kib: int  # at most, for a block that opts in
    reserved: int  # bytes of shared memory that the system keeps per block
    shared_unit: int


ARCHITECTURES = {
    75: Architecture(32, 16, 64, 64, 0, 256),
    80: Architecture(64, 32, 164, 163, 1024, 128),
    86: Architecture(48, 16, 100, 99, 1024, 128),
    89: Architecture(48, 24, 100, 99, 1024, 128),
    90: Architecture(64, 32, 228, 227, 1024, 128),
    100: Architecture(64, 32, 228, 227, 1024, 128),
    120: Architecture(48, 24, 100, 99, 1024, 128),
}


def occupancy(architecture: Architecture, threads: int, registers: int, shared_bytes: int) -> float:
    """Return the share of a multiprocessor's warps that blocks of `threads` threads can fill."""
    warps = -(-threads // 32)
    warp_registers = _round_up(registers * 32, _REGISTER_UNIT)
    warps_by_registers = _REGISTERS // _PARTITIONS // warp_registers * _PARTITIONS
    limits = [architecture.blocks, architecture.warps // warps, warps_by_registers // warps]
    block_shared = _round_up(shared_bytes + architecture.reserved, architecture.shared_unit)
    if block_shared > 0:
        limits.append(architecture.shared_kib * 1024 // block_shared)
    return min(limits) * warps / architecture.warps


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
