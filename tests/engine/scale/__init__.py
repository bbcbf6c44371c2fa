"""Tests of engine.scale that need no Ray; tests/ray has the others."""
