"""Tests of engine/sidecar."""
