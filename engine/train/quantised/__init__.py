"""Training of a quantised network with labels: the same loop, with the rounding of INT8 in the network."""
