"""Tests of the real Triton server; they run in its environment, with --triton ENGINE."""
