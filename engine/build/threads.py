"""The threads of a build."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engine.threads import limited_to

_WAITING = "OMP_WAIT_POLICY"


@contextmanager
def build_threads(threads: int | None) -> Iterator[None]:
    """Let PyTorch, the networks that a build runs and the operators use so many threads in the block.

    They do not spin while they wait, unless PyTorch was imported before.

    Args:
        threads: at most; None is one per core that this process may use. PyTorch knows affinity, but no cgroups.

    Raises:
        InvalidArgumentError: it is out of range.
    """
    with limited_to(threads) as count:
        if importlib.util.find_spec("torch") is None:
            yield
            return
        with _passive_openmp():
            import torch

        before = torch.get_num_threads()
        torch.set_num_threads(count if threads is not None else min(before, count))
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _passive_openmp() -> Iterator[None]:
    """Let the threads of OpenMP libraries that are loaded in the block sleep while they wait.

    Threads that spin take the cores from other work, and from each other. OpenMP reads this when it is loaded and at
    no other time, so the caller's environment is left as it was.
    """
    if _WAITING in os.environ:
        yield
        return
    os.environ[_WAITING] = "passive"
    try:
        yield
    finally:
        del os.environ[_WAITING]
