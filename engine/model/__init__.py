"""RetinaFace as PyTorch modules, and its checkpoints."""
