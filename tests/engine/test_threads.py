"""The number of threads follows affinity and cgroups."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from engine import ops, threads
from engine.errors import InvalidArgumentError
from engine.threads import MAX_THREADS, available_threads, cgroup_limit, check_threads, limited_to


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, MAX_THREADS),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "5000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, MAX_THREADS),
        ({"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/cpu.max": "300000 100000\n", f"{V2}/a/b/cpu.max": "max 1\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/cpu.max": "9 1\n", f"{V2}/a/b/cpu.max": "4 1\n"}, 4),
        ({"proc/self/cgroup": "0::/../../x\n", f"{V2}/cpu.max": "4 1\n"}, 4),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "nonsense"}, MAX_THREADS),
        ({"proc/self/cgroup": "nonsense", f"{V2}/cpu.max": "4 1"}, MAX_THREADS),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/\n",
                f"{V1}/docker/1/cpu.cfs_quota_us": "250000\n",
                f"{V1}/docker/1/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (  # in a container the path is that of the host
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n",
                f"{V1}/cpu.cfs_quota_us": "400000\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            MAX_THREADS,
        ),
    ],
)  # fmt: skip
def test_cgroups_of_both_versions(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert cgroup_limit(tree(tmp_path, files)) == limit


def test_affinity_and_cgroup_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for limit, expected in ((MAX_THREADS, 8), (3, 3), (1, 1)):
        monkeypatch.setattr(threads, "_cgroup_limit", lambda limit=limit: limit)
        assert available_threads() == check_threads(None) == expected
    with limited_to(5) as count:
        assert count == available_threads() == check_threads(None) == 5
        with limited_to(None):
            assert available_threads() == 5
    assert available_threads() == 1
    for wrong in (0, -1, 1025, True, 1.5):
        with pytest.raises(InvalidArgumentError, match=r"threads is .*, expected 1 to 1024"):
            check_threads(wrong)  # type: ignore[arg-type]


def most_helpers() -> int:
    """The most threads that an operator without a number of threads runs beside the caller's."""
    most, ended = 0, threading.Event()
    x = np.zeros((1, 64, 96, 96), np.float32)
    offset, weight = np.zeros((1, 18, 96, 96), np.float32), np.zeros((64, 64, 3, 3), np.float32)

    def work() -> None:
        try:
            for _ in range(5):
                ops.deform_conv(x, weight, offset, padding=1)
        finally:
            ended.set()

    worker = threading.Thread(target=work)
    before = len(os.listdir("/proc/self/task"))
    worker.start()
    while not ended.is_set():
        most = max(most, len(os.listdir("/proc/self/task")) - before - 1)
        ended.wait(0.001)
    worker.join()
    return most


def test_operators_follow_it() -> None:
    script = (
        "import sys; from engine import threads\n"
        "threads._cgroup_limit = lambda: int(sys.argv[1])\n"
        "import os; os.sched_getaffinity = lambda process: set(range(64))\n"
        "from tests.engine.test_threads import most_helpers\n"
        "print(most_helpers())"
    )
    root = Path(__file__).parents[2]
    for limit in (1, 5):
        done = subprocess.run(
            [sys.executable, "-c", script, str(limit)], cwd=root, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == limit - 1
