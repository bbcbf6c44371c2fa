"""RetinaFace as PyTorch modules, and the readers of its checkpoints."""
