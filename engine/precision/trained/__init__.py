"""Training of a quantised network, so that it computes what the float32 network computes."""
