"""Tests of what the CUDA emulator computes, counts and detects; the oracles are NumPy and plain Python."""
