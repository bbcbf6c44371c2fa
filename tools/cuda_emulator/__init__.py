"""Runs CUDA kernels on the CPU: PTX text in, NumPy arrays changed in place. Whole programs need no Python: see README.md."""

from tools.cuda_emulator.module import (
    BUILD,
    CudaEmulatorError,
    Module,
    issued_instructions,
    reset_statistics,
    statistics,
)

__all__ = ["BUILD", "CudaEmulatorError", "Module", "issued_instructions", "reset_statistics", "statistics"]
