"""Times the kernels on a real GPU."""
