"""Simulated servers and measured points for the tests of the benchmark."""
