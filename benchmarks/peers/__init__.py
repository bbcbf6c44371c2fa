"""Compares this project with other CPU packages: same weights, photos and threads."""
