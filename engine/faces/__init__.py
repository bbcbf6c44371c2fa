"""Faces: what a detection finds, and what people do with it."""
