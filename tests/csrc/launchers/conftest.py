"""The library that holds the launchers is the plugins' test driver."""

from tests.csrc.plugins.conftest import library

__all__ = ["library"]
