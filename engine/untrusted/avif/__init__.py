"""AVIF: where a file holds coded pictures, and the sizes that these claim."""
