"""Measures of detection: matching of faces, agreement of two engines, average precision."""
