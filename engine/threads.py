"""How many threads to use: the cores that this process may use, by its affinity and by the limits of its cgroup."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from engine.errors import InvalidArgumentError

MAX_THREADS = 1024
_CPU = "cpu"  # the controller of version 1

_limit: ContextVar[int | None] = ContextVar("threads", default=None)


def available_threads() -> int:
    """Return the number of cores that this process may use; inside limited_to the number that it says."""
    limit = _limit.get()
    if limit is not None:
        return limit
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_limit()))


def check_threads(threads: int | None) -> int:
    """Return the number of threads for an option; None is available_threads().

    Raises:
        InvalidArgumentError: it is out of range.
    """
    if threads is None:
        return available_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise InvalidArgumentError(f"threads is {threads!r}, expected 1 to {MAX_THREADS}, or None for all cores")
    return threads


@contextmanager
def limited_to(threads: int | None) -> Iterator[int]:
    """Let available_threads() return this number in the block; see check_threads."""
    count = check_threads(threads)
    token = _limit.set(count)
    try:
        yield count
    finally:
        _limit.reset(token)


@cache
def _cgroup_limit() -> int:
    return cgroup_limit(Path("/"))


def cgroup_limit(root: Path) -> int:
    """Return the cores that the cgroup of this process may use, rounded up; MAX_THREADS without a limit.

    Args:
        root: of the file system.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_quota_us).
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return MAX_THREADS
    limit = math.inf
    mounts = root / "sys/fs/cgroup"
    for line in lines:  # such as "0::/user.slice", or with version 1 "4:cpu,cpuacct:/docker/4711"
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            limit = min([limit, *(_cores(*_words(at / "cpu.max")) for at in _up(mounts, path))])
        elif _CPU in controllers.split(","):
            for at in (*_up(mounts / controllers, path), *_up(mounts / _CPU, path)):
                quota, period = _words(at / "cpu.cfs_quota_us"), _words(at / "cpu.cfs_period_us")
                limit = min(limit, _cores(*quota, *period))
    return MAX_THREADS if limit == math.inf else math.ceil(limit)


def _up(mount: Path, path: str) -> list[Path]:
    """Return a cgroup's folder and those above it, which limit it too; in a container only the mount may be there."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except (OSError, UnicodeDecodeError):
        return []


def _cores(*quota_and_period: str) -> float:
    """Return how many cores a quota is; infinity for "max", -1 and what cannot be read."""
    try:
        quota, period = map(int, quota_and_period)
    except ValueError:
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf
