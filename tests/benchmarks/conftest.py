"""Engines that tests of several folders share."""

from tests.support.fixtures import ranged_detector, ranged_engine

__all__ = ["ranged_detector", "ranged_engine"]
