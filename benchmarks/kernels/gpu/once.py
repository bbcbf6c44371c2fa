"""Calls each operator once, for a profiler: `ncu --profile-from-start off python -m benchmarks.kernels.gpu.once`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import torch

from benchmarks.kernels.gpu.comparisons import Comparison, comparisons
from engine import ops


def main() -> int:
    """Call the operators; return 1 without a GPU."""
    if not torch.cuda.is_available() or ops.cuda_device_count() == 0:
        print("This needs an NVIDIA GPU and a CUDA build of PyTorch.", file=sys.stderr)
        return 1
    for comparison in first_of_each(comparisons(torch.device("cuda"))):
        print(comparison.name, flush=True)
        comparison.ours()  # loads the kernels
        torch.cuda.synchronize()
        torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
        comparison.ours()
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
    return 0


def first_of_each(every: Iterable[Comparison]) -> list[Comparison]:
    """Return the first comparison of each operator, which is the first word of its name."""
    first: dict[str, Comparison] = {}
    for comparison in every:
        first.setdefault(comparison.name.replace(",", " ").split()[0], comparison)
    return list(first.values())


if __name__ == "__main__":
    sys.exit(main())
