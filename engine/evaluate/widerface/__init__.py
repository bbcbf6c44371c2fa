"""WIDER FACE: its files, its protocol, and running a detector on it."""
