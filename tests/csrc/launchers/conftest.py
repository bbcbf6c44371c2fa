"""Fixtures: the launchers are in the plugins' test driver."""

from tests.csrc.plugins.conftest import library

__all__ = ["library"]
