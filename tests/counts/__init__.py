"""What the kernels cost, as a CUDA emulator counts it."""
