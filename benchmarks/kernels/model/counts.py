"""Counts the model's workloads on the CUDA emulator; counts.json keeps the counts.

former_counts.json has those of the deformable convolution nearest to the one that was measured.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.kernels import ptxas
from benchmarks.kernels.model import units
from benchmarks.kernels.statistics import count

COUNTS = Path(__file__).with_name("counts.json")
_FORMER = Path(__file__).with_name("former_counts.json")
_PARALLEL = 2

Kernels = dict[str, dict[str, float]]  # counters by kernel, and beside them the "facts": floor_bytes, flops
Counted = dict[str, Kernels]  # by rows.keys


def count_all(wanted: list[str]) -> Counted:
    """Count on the emulator."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return dict(zip(wanted, pool.map(_count, wanted), strict=True))


def dump(counted: Counted) -> str:
    """Return the text of counts.json: a line per kernel."""
    lines = [
        f"  {json.dumps(key)}: {{\n"
        + ",\n".join(f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in kernels.items())
        + "\n  }"
        for key, kernels in counted.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load() -> Counted:
    """Return the counts that are kept."""
    counted: Counted = json.loads(COUNTS.read_text())
    return counted


def load_measured() -> Counted:
    """Return the counts of what was measured: kernels of today, and former ones."""
    former: Counted = json.loads(_FORMER.read_text())
    return load() | former


def _count(key: str) -> Kernels:
    workload, _, device = key.partition("; ")
    settings = {}
    if device:
        names = ("CUDA_EMULATOR_CC", "CUDA_EMULATOR_SMS", "CUDA_EMULATOR_SMEM_OPTIN")
        settings = dict(zip(names, re.findall(r"\d+", device), strict=True))
    found = count(workload, settings)
    sectors = found.facts.get("compulsory_sectors", 0)
    facts: dict[str, float] = {
        "floor_bytes": found.facts.get("compulsory_bytes", 32 * sectors),
        "flops": 2 * found.facts.get("multiply_adds", 0),
    }
    kernels: Kernels = {
        ptxas.readable(name): {counter: counters[counter] for counter in units.COUNTERS}
        for name, counters in found.kernels.items()
    }
    return {"facts": facts, **kernels}
