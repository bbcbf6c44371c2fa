"""Measurements of this project: kernels, precision, models, CPU speed, and comparisons with other packages."""
