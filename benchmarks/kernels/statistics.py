"""Runs workloads on the CUDA emulator and reads its counters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.kernels.document import ROOT

# The emulator writes the counters of each kernel, as JSON, to the file that this variable names.
STATISTICS_VARIABLE = "CUDA_EMULATOR_STATS"
_DEVICE = {"CUDA_EMULATOR_CC": "80", "CUDA_EMULATOR_RACE": "0", "OMP_NUM_THREADS": "1"}
_PARALLEL = 2
_MMA_FLOPS = 2 * 16 * 8 * 16  # per m16n8k16 instruction


@dataclass(frozen=True)
class Counted:
    """The counters of one workload.

    Attributes:
        facts: what workloads.py computes from the data: sizes, and lower bounds of traffic and arithmetic.
        kernels: counters by mangled kernel name.
    """

    facts: dict[str, float]
    kernels: dict[str, dict[str, int]]

    def total(self, counter: str, kernel: str = "") -> int:
        """Return the sum of a counter over the kernels whose names contain `kernel`."""
        return sum(counters[counter] for name, counters in self.kernels.items() if kernel in name)

    @cached_property
    def launches(self) -> int:
        return self.total("launches")

    @cached_property
    def warp_instructions(self) -> int:
        return self.total("warp_inst")

    @cached_property
    def loaded(self) -> int:
        """Sectors of 32 bytes that warps loaded."""
        return self.total("global_load_sectors")

    @cached_property
    def stored(self) -> int:
        return self.total("global_store_sectors")

    @cached_property
    def requested_bytes(self) -> int:
        """Bytes of all sectors loaded and stored."""
        return 32 * (self.loaded + self.stored)

    @cached_property
    def matrix_instructions(self) -> float:
        """Matrix instructions, in units of m16n8k16."""
        return self.total("mma_flops") / _MMA_FLOPS


def count(workload: str, settings: dict[str, str] | None = None) -> Counted:
    """Run one workload, in its own process, with more environment variables: settings of the emulator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.json"
        environment = {**os.environ, **_DEVICE, STATISTICS_VARIABLE: str(path), **(settings or {})}
        command = [sys.executable, "-m", "benchmarks.kernels.workloads", workload]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{workload}: {result.stderr}")
        return Counted(json.loads(result.stdout), json.loads(path.read_text()))


def count_all(workloads: list[str]) -> dict[str, Counted]:
    """Run several workloads, two at a time."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return dict(zip(workloads, pool.map(count, workloads), strict=True))
