"""Limits of the kernels' counted costs; tests/benchmarks/test_kernel_counts.py checks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.kernels.chain import longest_chain
from benchmarks.kernels.statistics import Counted


@dataclass(frozen=True)
class Limit:
    """A figure of one workload and its bounds."""

    workload: str
    figure: str
    measure: Callable[[Counted], float]
    at_most: float
    at_least: float = 0.0

    def holds(self, counted: Counted) -> bool:
        """Return whether the figure is within the bounds."""
        return self.at_least <= self.measure(counted) <= self.at_most


def load_ratio(counted: Counted) -> float:
    """Return sectors loaded over compulsory sectors; each candidate's deltas count on their own."""
    return counted.loaded / counted.facts["compulsory_sectors"]


def distinct_ratio(counted: Counted) -> float:
    """Return sectors loaded over compulsory sectors; a sector that several candidates share counts once."""
    return counted.loaded / counted.facts["distinct_sectors"]


def traffic_ratio(counted: Counted) -> float:
    """Return sectors loaded and stored over compulsory sectors."""
    return (counted.loaded + counted.stored) / counted.facts["compulsory_sectors"]


def _blocks(counted: Counted) -> float:
    return counted.total("blocks", "find_overlaps")


def _excess_stores(counted: Counted) -> float:
    return counted.total("global_store_bytes") - counted.facts["output_bytes"] - counted.facts["rearranged_bytes"]


def _store_ratio(counted: Counted) -> float:
    return 32 * counted.stored / counted.facts["output_bytes"]


def _excess_matrix_instructions(counted: Counted) -> float:
    return counted.matrix_instructions - counted.facts["matrix_instructions"]


_CLEAN = tuple(f"decode clean{kind}" for kind in ("", " float16", " batch 16", " cascade"))
_DECODE = (*_CLEAN, "decode random", "decode random float16")

LIMITS = [
    *[Limit(name, "sectors loaded / compulsory", load_ratio, 1.3) for name in (*_DECODE, "decode random K 1000")],
    *[Limit(name, "sectors loaded / distinct", distinct_ratio, 1.3) for name in _CLEAN],
    Limit("pipeline batch 16", "launches", lambda c: c.launches, 6),
    *[
        limit
        for name, warp_instructions in (("nms scattered", 12e6), ("nms clustered", 9e6))
        for limit in (
            Limit(name, "blocks", _blocks, float("inf"), at_least=32),
            Limit(name, "sectors / compulsory", traffic_ratio, 90),
            Limit(name, "warp instructions", lambda c: c.warp_instructions, warp_instructions),
        )
    ],
    Limit("nms scattered", "longest chain of dependent steps", lambda _: longest_chain(5000), 80),
    *[
        limit
        for name in ("deform_conv", "deform_conv channels-last")
        for limit in (
            Limit(name, "warp instructions", lambda c: c.warp_instructions, 19e6),
            Limit(name, "bytes requested", lambda c: c.requested_bytes, 270e6),
            Limit(name, "matrix instructions beyond the product's", _excess_matrix_instructions, 0),
            Limit(name, "bytes written beyond output, weights and x", _excess_stores, 0),
        )
    ],
    Limit("align 64 faces", "launches", lambda c: c.launches, 1),
    Limit("align 64 faces", "sectors stored / those of the crops", _store_ratio, 1.01),
]
