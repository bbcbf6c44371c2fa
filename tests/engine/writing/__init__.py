"""Tests of engine/writing."""
