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


COMMAND = "import retinaface_trt; retinaface_trt._prepare('test')"
PROGRAM = (
    "import os; from engine.build.threads import build_threads\n"
    "with build_threads(None): pass\n"
    "assert not [name for name in os.environ if name.startswith('OMP_WAIT')]"
)


@pytest.mark.parametrize("begins", [COMMAND, PROGRAM], ids=["command", "program"])
def test_threads_do_not_spin_while_they_wait(begins: str) -> None:
    """PyTorch's OpenMP says on stderr what it was told."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment["OMP_DISPLAY_ENV"] = "true"
    done = subprocess.run(
        [sys.executable, "-c", f"{begins}\nimport torch; torch.set_num_threads(2); torch.ones(1 << 20).add(1)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_a_build_loads_pytorch_before_anything_else_does() -> None:
    """Else its threads would spin: OpenMP reads the environment once."""
    script = "import sys; import engine.build.pipeline, engine.build.onnx_file; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_caller_s_own_policy_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with build_threads(1):
        assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["OMP_WAIT_POLICY"] == "active"
