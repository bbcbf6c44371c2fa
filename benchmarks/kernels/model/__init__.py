"""Models the kernels' times on GPUs from what the CUDA emulator counts."""
