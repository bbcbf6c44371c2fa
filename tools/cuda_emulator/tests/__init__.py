"""What the CUDA emulator computes, counts and detects, against oracles of NumPy and plain Python."""
