"""Computes the occupancy of kernels: the share of a multiprocessor's warp slots that they fill."""

from __future__ import annotations

from dataclasses import dataclass

_REGISTERS = 64 * 1024  # per multiprocessor, in every architecture below
_REGISTER_UNIT = 256  # allocation unit of a warp's registers
_PARTITIONS = 4  # per multiprocessor, each with a quarter of the registers


@dataclass(frozen=True)
class Architecture:
    """Limits of a multiprocessor.

    Source: CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability". Allocation units and
    reserved shared memory: the occupancy calculator in Nsight Compute; cuda_occupancy.h of the CUDA toolkit has the
    same numbers.
    """

    warps: int
    blocks: int
    shared_kib: int
    block_shared_kib: int  # maximum of a block that opts in
    reserved: int  # bytes of shared memory per block that the system reserves
    shared_unit: int  # allocation unit of shared memory in bytes


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
    """Return the occupancy of a kernel with blocks of `threads` threads, from 0 to 1."""
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
