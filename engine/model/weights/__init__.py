"""Checkpoints: found by name or path, read, and brought into the layout of the modules."""
