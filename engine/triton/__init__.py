"""NVIDIA's Triton: an engine as a model repository, what Triton's Python backend runs of it, the server's start."""
