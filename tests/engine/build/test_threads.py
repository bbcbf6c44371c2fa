"""A build uses the threads that it is given, and gives PyTorch's setting back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from engine import threads
from engine.build.threads import build_threads
from engine.threads import available_threads


def test_all_parts_of_a_build_use_so_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    with build_threads(3):
        assert available_threads() == torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
    monkeypatch.setattr(threads, "_cgroup_limit", lambda: 1)
    with build_threads(None):
        assert available_threads() == torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_threads_of_commands_do_not_spin_while_they_wait() -> None:
    """PyTorch's OpenMP says on stderr what it was told."""
    script = (
        "import sys, retinaface_trt\n"
        "retinaface_trt._prepare('test')\n"
        "import torch\n"
        "torch.set_num_threads(2)\n"
        "torch.ones(1 << 20).add(1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment["OMP_DISPLAY_ENV"] = "true"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
