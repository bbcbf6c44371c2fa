"""Tests on a real cluster of Ray; they run in its environment, with --ray ENGINE."""
