"""Published figures of GPUs, for the cost model (model.py)."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.kernels.occupancy import ARCHITECTURES, Architecture


@dataclass(frozen=True)
class Gpu:
    """Peak rates of a GPU; those `per clock` are of one multiprocessor.

    Attributes:
        name: as NVIDIA calls it.
        capability: compute capability, such as 90 for 9.0.
        multiprocessors: that are enabled.
        clock_ghz: boost clock; for Hopper the one behind the published matrix rate.
        memory_gbs: bandwidth of the memory, GB/s.
        matrix_tflops: dense float16 products with float32 sums.
        matrix_share: part of that which mma.sync reaches.
        float_lanes: float32 operations per clock.
        integer_lanes: 32-bit integer operations per clock.
        l1_bytes: from the L1 cache or shared memory, per clock.
        l2_bytes: from the L2 cache, per clock.
    """

    name: str
    capability: int
    multiprocessors: int
    clock_ghz: float
    memory_gbs: float
    matrix_tflops: float
    matrix_share: float
    float_lanes: int
    integer_lanes: int
    l1_bytes: int
    l2_bytes: int

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.capability]


# Sources. Multiprocessors, clocks, bandwidths, matrix rates: NVIDIA's data sheets of T4, L4, A100 (SXM, 80 GB),
# H100 (SXM) and H200, and its white papers on the architectures Turing, Ada, A100, H100 and RTX Blackwell. Lanes: CUDA
# C++ Programming Guide 13.0, "Throughput of Native Arithmetic Instructions". L1: the white paper on GA102, "128 bytes
# per clock" against Turing's 64.
# mma.sync reaches 63% of Hopper's peak, which only wgmma reaches: Luo et al., "Benchmarking and Dissecting the Nvidia
# Hopper GPU Architecture via Microbenchmarking", 2024.
# NVIDIA does not publish the L2 cache's bandwidth, but for A100, whose 5,120 bytes per clock are not reached. These are
# assumptions in the order of what others measured, such as 1.27 TB/s on T4 (Jia et al., "Dissecting the NVidia Turing
# T4 GPU via Microbenchmarking", 2019).
GPUS = (
    Gpu("T4", 75, 40, 1.59, 320, 65, 1, 64, 64, 64, 20),
    Gpu("L4", 89, 58, 2.04, 300, 121, 1, 128, 64, 128, 16),
    Gpu("RTX 4090", 89, 128, 2.52, 1008, 165.2, 1, 128, 64, 128, 16),
    Gpu("A100", 80, 108, 1.41, 2039, 312, 1, 64, 64, 128, 32),
    Gpu("H100", 90, 132, 1.83, 3350, 989, 0.63, 128, 64, 128, 24),
    Gpu("H200", 90, 132, 1.83, 4800, 989, 0.63, 128, 64, 128, 24),
    Gpu("RTX 5090", 120, 170, 2.41, 1792, 209.5, 1, 128, 128, 128, 16),
)
H200 = next(gpu for gpu in GPUS if gpu.name == "H200")
