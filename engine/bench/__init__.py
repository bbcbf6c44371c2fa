"""Benchmarks of serving: load generation, latencies by stage, bottlenecks, comparison of two runs."""
