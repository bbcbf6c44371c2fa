"""The threads of a build."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from engine.threads import limited_to


@contextmanager
def build_threads(threads: int | None) -> Iterator[None]:
    """Let PyTorch, the networks that a build runs and the operators use so many threads in the block.

    Args:
        threads: at most; None is one per core that this process may use. PyTorch knows affinity, but no cgroups.

    Raises:
        InvalidArgumentError: it is out of range.
    """
    with limited_to(threads) as count:
        if importlib.util.find_spec("torch") is None:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(count if threads is not None else min(before, count))
        try:
            yield
        finally:
            torch.set_num_threads(before)
