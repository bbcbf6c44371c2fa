"""Figures about the CUDA kernels, for docs/kernels.md."""
