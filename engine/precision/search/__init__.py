"""Which convolutions stay in higher precision."""
