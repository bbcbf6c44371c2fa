"""Runs CUDA kernels on the CPU, on NumPy arrays; whole programs need no Python (README.md)."""

from tools.cuda_emulator.module import (
    BUILD,
    CudaEmulatorError,
    Module,
    issued_instructions,
    reset_statistics,
    statistics,
)

__all__ = ["BUILD", "CudaEmulatorError", "Module", "issued_instructions", "reset_statistics", "statistics"]
