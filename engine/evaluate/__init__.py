"""Evaluations of engines: comparison with a reference, WIDER FACE's average precision, choice of thresholds."""
