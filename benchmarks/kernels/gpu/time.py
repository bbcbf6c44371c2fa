"""Times the operators on this machine's GPU, beside the cost model, torchvision and plain PyTorch.

    python -m benchmarks.kernels.gpu.time [--json FILE] [--document]

Needs a CUDA build of PyTorch and the test driver in build/device (`scripts/build-for-emulator VENV device`). Our
times are by CUDA events, of captured graphs with many launches, which leaves out the host's part of a launch; inputs
may be in the GPU's cache. The times of others, and ours behind an overwritten cache, are those of the kernels alone
(profile.py): some others wait for the host and cannot be captured, and in a graph the overwriting would be timed, too.
Modelled times are those of benchmarks/kernels/model for the same kernels and shapes. --document writes the table of
docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.kernels import document
from benchmarks.kernels.gpu.comparisons import Comparison, comparisons
from benchmarks.kernels.gpu.profile import Duration, duration
from benchmarks.kernels.model import counts, tables
from benchmarks.kernels.model.gpus import GPUS
from benchmarks.kernels.model.rows import ROWS
from engine import ops
from tests.csrc.launchers.launchers import SUCCESS, Launch, Operation
from tests.csrc.plugins.conftest import DEVICE_BUILD, DRIVER, PLUGINS
from tests.csrc.plugins.driver import Library

DOCUMENT = document.ROOT / "docs" / "performance.md"
SECTION = "GPU kernels"
LAUNCHES = 20  # of a graph
REPLAYS = 11


@dataclass(frozen=True)
class Row:
    """What was measured of a comparison; times in microseconds.

    Attributes:
        name: as in Comparison.
        ours: our launcher, in a graph.
        modelled: the model's time; None where it does not know the GPU or the shapes.
        flushed: our kernels, with inputs that no cache holds.
        rival: their kernels.
    """

    name: str
    ours: float
    modelled: float | None
    flushed: Duration
    rival: Duration | None


def main(arguments: list[str] | None = None) -> int:
    """Measure everything; return 1 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--document", action="store_true", help="write the table of docs/performance.md")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() or ops.cuda_device_count() == 0:
        print("This needs an NVIDIA GPU and a CUDA build of PyTorch.", file=sys.stderr)
        return 1
    if not (DEVICE_BUILD / DRIVER).exists():
        print(f"{DEVICE_BUILD} holds no {DRIVER}. Build it: scripts/build-for-emulator VENV device", file=sys.stderr)
        return 1
    library = Library(DEVICE_BUILD / DRIVER, DEVICE_BUILD / PLUGINS)
    ceilings = measure_ceilings()
    print(ceilings, flush=True)
    rows = []
    for comparison in comparisons(torch.device("cuda")):
        row = measure(comparison, library)
        rows.append(row)
        print("  ".join(cells(row)), flush=True)
    if options.json:
        figures = {"gpu": torch.cuda.get_device_name(), "ceilings": ceilings, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if options.document:
        document.write(SECTION, report(ceilings, rows), DOCUMENT)
    return 0


def measure(comparison: Comparison, library: Library) -> Row:
    """Measure both sides, one after the other."""
    rival = None if comparison.rival is None else duration(comparison.rival)
    ours = replayed(library, comparison.operation(library))
    modelled = modelled_time(comparison.modelled, torch.cuda.get_device_name())
    return Row(comparison.name, ours, modelled, duration(comparison.ours, flush=True), rival)


def replayed(library: Library, operation: Operation, launches: int = LAUNCHES, replays: int = REPLAYS) -> float:
    """Return the microseconds of an operation in a captured graph of many: the median of several replays."""
    launch = Launch(library, operation)
    if launch.launch() != SUCCESS:  # also loads the kernels, which a capture may not do
        raise RuntimeError("the launcher failed; the tests in tests/csrc/launchers say why")
    launch.results()
    return statistics.median(launch.times_ms(launch.capture(launches), replays)) * 1e3 / launches


def modelled_time(row: str | None, gpu_name: str) -> float | None:
    """Return the model's microseconds for a row of its table on a GPU by CUDA's name for it, None if it has none."""
    gpu = next((gpu for gpu in GPUS if re.search(rf"\b{re.escape(gpu.name)}\b", gpu_name)), None)
    known = next((known for known in ROWS if known.name == row), None)
    return None if gpu is None or known is None else tables.time(known, gpu, counts.load())


def measure_ceilings() -> str:
    """Return a sentence: the GPU, its copying and its float16 matrix products."""
    source = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = duration(lambda: target.copy_(source)).microseconds
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    product = duration(lambda: square @ square).microseconds
    return (
        f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}. In the same run a "
        f"copy of 256 MiB moved {2 * source.numel() / copy / 1e3:,.0f} GB/s, and a float16 product of 8192 x 8192 "
        f"matrices made {2 * 8192**3 / product / 1e6:,.0f} TFLOP/s."
    )


def cells(row: Row) -> list[str]:
    """Return a line of the table: name, microseconds, and how many times as long theirs take."""
    modelled = "" if row.modelled is None else f"{row.modelled:.1f}"
    ours = [row.name, f"{row.ours:.1f}", modelled, f"{row.flushed.microseconds:.1f}"]
    if row.rival is None:
        return [*ours, "", ""]
    return [*ours, f"{row.rival.microseconds:.1f}", f"{row.rival.microseconds / row.ours:.2f}"]


def report(ceilings: str, rows: list[Row]) -> str:
    """Return the section of docs/performance.md."""
    header = ("operator", "ours, us", "modelled, us", "L2 flushed, us", "theirs, us", "theirs / ours")
    return f"{ceilings}\n\n{document.table(header, [cells(row) for row in rows])}"


if __name__ == "__main__":
    sys.exit(main())
