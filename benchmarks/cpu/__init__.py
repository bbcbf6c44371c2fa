"""Measures the CPU session and its operators beside alternatives."""
