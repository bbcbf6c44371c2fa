"""Checkpoints: found by name or path, read, and converted to the names of the modules."""
