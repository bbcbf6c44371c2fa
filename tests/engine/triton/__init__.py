"""Tests of engine.triton, without a server."""
