"""Comparing engines, average precision, and generated pictures."""
