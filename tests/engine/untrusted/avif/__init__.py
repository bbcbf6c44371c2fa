"""Tests of engine/untrusted."""
