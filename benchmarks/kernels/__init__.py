"""Measures the CUDA kernels without a GPU, for docs/development/kernels.md: compiler output and emulator counts."""
