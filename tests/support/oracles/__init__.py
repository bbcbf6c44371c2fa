"""Oracles: the operators in float64 NumPy, written like their formulas and independent of the package."""
