"""TensorRT and TensorRT-RTX, the GPUs they build for, and the plugin library."""
