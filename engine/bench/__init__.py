"""Serving measured: load, latency from the intended start, stages, what bounds them, and how two runs compare."""
