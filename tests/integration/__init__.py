"""Tests that build and run whole engines."""
