"""What the GPU session is made of: memory, graphs, callers' arrays, failures, and TensorRT-RTX's own settings."""
