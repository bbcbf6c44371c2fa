"""Stand-ins for cupy and TensorRT: two that record calls, and two that run kernels on a CUDA emulator."""
