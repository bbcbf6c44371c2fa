"""Comparison of engines, WIDER FACE, thresholds."""
