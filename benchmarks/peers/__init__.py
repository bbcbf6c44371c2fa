"""Ours beside what a user would pick on a CPU, with the same weights, photos and threads."""
