"""Engines that are built at their first use and kept in the user's cache folder."""

from engine.store.choice import options_of
from engine.store.keep import kept_engine

__all__ = ["kept_engine", "options_of"]
