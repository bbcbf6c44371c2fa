"""Anchors for the faces of a training set, and what anchors can reach."""
