"""Test doubles of cupy and TensorRT: two record calls, and two run kernels on the CUDA emulator."""
