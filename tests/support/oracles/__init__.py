"""What the operators must compute, in float64 NumPy that reads like the formula; nothing from the package."""
