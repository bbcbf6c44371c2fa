"""Models the time of a kernel on a GPU from what the emulator counts: the time that each unit needs, and the longest.

A modelled time is no measurement. docs/development/kernels.md states what is assumed and how far the model is from
times that were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from benchmarks.kernels.model.gpus import Gpu

Counts = Mapping[str, float]  # the emulator's counters of one kernel
Times = dict[str, float]  # microseconds by unit

COUNTERS = (
    "launches", "blocks", "threads", "warp_inst", "busiest_warp_of_blocks_inst", "busiest_warp_of_launches_inst",
    "int_inst", "fp32_inst", "special_inst", "mma_flops", "global_load_sectors", "global_load_block_sectors",
    "global_launch_sectors", "global_store_sectors", "global_load_groups", "shared_load_groups",
    "shared_load_wavefronts", "shared_store_wavefronts", "barriers", "fences",
)  # fmt: skip

_WARP = 32
_SECTOR = 32
_SCHEDULERS = 4  # per multiprocessor, with an instruction per clock each
_SPECIAL_LANES = 16
_WAVEFRONT_BYTES = 128

# Nsight Compute counted so many machine instructions for one of PTX, of the convolution and letterbox on an H200.
_MACHINE_INSTRUCTIONS = 1.2

# Cycles. An instruction waits for the one before it, for 4 to 5 cycles on all these architectures (Jia et al., Luo et
# al.: gpus.py); 4.2 suits the convolution that was measured. The other figures are rounded assumptions of that order.
_DEPENDENT_INSTRUCTION = 4.2
_GLOBAL_LOAD = 300  # from the L2 cache
_SHARED_LOAD = 30
_BARRIER = 30
_FENCE = 500
_BLOCK_START = 300  # from the end of a block to the first instruction of the one that takes its place

# From the first block's start to the first instruction, and from the last store to the kernel's end.
START_US = 1.0
# The same of a kernel that was launched before the one before it ended: its blocks have started, and wait. What is left
# is the other kernel's end, which makes its stores visible. An assumption; nobody has published such a figure.
DEPENDENT_START_US = 0.5


def unit_times(counts: Counts, gpu: Gpu, resident_blocks: int) -> Times:
    """Return the microseconds that each unit needs for all launches of a kernel, if nothing else delays it.

    Args:
        counts: the emulator's counters.
        gpu: rates.
        resident_blocks: that a multiprocessor runs at once.
    """
    blocks = counts["blocks"] / counts["launches"]
    # The busiest multiprocessor has a whole number of blocks.
    share = ceil(blocks / gpu.multiprocessors) / blocks
    l1_bytes = _WAVEFRONT_BYTES * (counts["shared_load_wavefronts"] + counts["shared_store_wavefronts"])
    l1_bytes += _SECTOR * (counts["global_load_sectors"] + counts["global_store_sectors"])
    l2_bytes = _SECTOR * (counts["global_load_block_sectors"] + counts["global_store_sectors"])
    matrix_flops = gpu.matrix_tflops * gpu.matrix_share * 1e3 / gpu.clock_ghz / gpu.multiprocessors  # per clock
    cycles = {
        "issue": share * _MACHINE_INSTRUCTIONS * counts["warp_inst"] / _SCHEDULERS,
        "integer": share * counts["int_inst"] / gpu.integer_lanes,
        "float": share * counts["fp32_inst"] / gpu.float_lanes,
        "special": share * counts["special_inst"] / _SPECIAL_LANES,
        "matrix": share * counts["mma_flops"] / matrix_flops,
        "L1": share * l1_bytes / gpu.l1_bytes,
        "L2": l2_bytes / (gpu.l2_bytes * gpu.multiprocessors),
        "memory": _SECTOR * counts["global_launch_sectors"] / gpu.memory_gbs * gpu.clock_ghz,
        "latency": _chain(counts, ceil(blocks / (gpu.multiprocessors * resident_blocks))),
    }
    return {unit: value / (gpu.clock_ghz * 1e3) for unit, value in cycles.items()}


def kernel_time(counts: Counts, gpu: Gpu, resident_blocks: int, dependent: bool = False) -> float:
    """Return the modelled microseconds of a kernel: its start, and the unit that needs the longest.

    `dependent`: it starts before the kernel before it has ended.
    """
    start = DEPENDENT_START_US if dependent else START_US
    return start * counts["launches"] + max(unit_times(counts, gpu, resident_blocks).values())


def roofline(floor_bytes: float, flops: float, gpu: Gpu) -> float:
    """Return the microseconds below which no implementation can be: the memory's or the matrix units' at their peak."""
    return max(floor_bytes / gpu.memory_gbs / 1e3, flops / gpu.matrix_tflops / 1e6)


def extrapolate(one: Counts, two: Counts, factor: float) -> dict[str, float]:
    """Return the counts of `factor` times the work of `one`. `two` has twice its work; counts are linear in it."""
    return {name: one[name] + (factor - 1) * (two[name] - one[name]) for name in one}


def _chain(counts: Counts, waves: int) -> float:
    """Return the cycles of the longest warp of each wave of blocks, one wave after the other.

    Each instruction waits for the one before it, each group of loads for its memory, and each wave but the first for
    its blocks to start.
    """
    waits = (
        _GLOBAL_LOAD * counts["global_load_groups"]
        + _SHARED_LOAD * counts["shared_load_groups"]
        + _BARRIER * counts["barriers"]
        + _FENCE * counts["fences"]
    )
    per_instruction = _DEPENDENT_INSTRUCTION * _MACHINE_INSTRUCTIONS + waits / counts["warp_inst"]
    mean = counts["busiest_warp_of_blocks_inst"] / counts["blocks"] * counts["launches"]
    starts = (waves - 1) * counts["launches"] * _BLOCK_START
    return starts + per_instruction * ((waves - 1) * mean + counts["busiest_warp_of_launches_inst"])
