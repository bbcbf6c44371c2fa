"""How good an engine is: against labels, against other engines, and at which thresholds."""
