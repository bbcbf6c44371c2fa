"""The quantised graph: the tensors to quantise, a simulation in PyTorch, and the Q/DQ nodes."""
