"""Scales and weights of a quantised network, fitted to calibration images."""
