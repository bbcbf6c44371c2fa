"""The GPU session and its parts: memory, contexts, CUDA graphs, arrays of callers, failures, TensorRT-RTX."""
