"""Tests of engine.rows."""
