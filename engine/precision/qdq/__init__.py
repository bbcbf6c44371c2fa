"""The quantised graph: which tensors, their simulation in PyTorch, and the Q/DQ nodes."""
