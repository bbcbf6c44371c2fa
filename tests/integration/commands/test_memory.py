"""What a process holds that starts others, each of which loads an engine, detects and ends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_LINE = re.compile(r"(\d+) processes: ([\d.]+) MB, (\d+) open files, (\d+) threads")


@pytest.mark.slow
def test_spawned_processes_leave_nothing(fp32_engine: Path) -> None:
    """100 take two minutes; their figures are in docs/performance.md."""
    command = [sys.executable, "-m", "benchmarks.cpu.memory", "--engine", str(fp32_engine), "--spawns", "10"]
    done = subprocess.run([*command, "--largest", "200"], capture_output=True, text=True, check=True)
    count, megabytes, files, threads = zip(*_LINE.findall(done.stdout), strict=True)
    assert count == tuple(map(str, range(1, 11)))
    assert len({*files}) == len({*threads}) == 1
    assert max(map(float, megabytes)) < min(map(float, megabytes)) + 5
