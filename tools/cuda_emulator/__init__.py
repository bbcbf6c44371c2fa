"""Runs CUDA kernels on the CPU, on NumPy arrays; see README.md for whole programs, which need no Python."""

from tools.cuda_emulator.module import (
    BUILD,
    CudaEmulatorError,
    Module,
    issued_instructions,
    reset_statistics,
    statistics,
)

__all__ = ["BUILD", "CudaEmulatorError", "Module", "issued_instructions", "reset_statistics", "statistics"]
