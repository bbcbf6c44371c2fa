"""Faces compared with faces and with labels: matching, agreement, average precision."""
