"""Measures the CUDA kernels without a GPU, for docs/kernels.md: compiler output and emulator counts."""
