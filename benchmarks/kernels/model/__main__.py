"""Writes the modelled times of docs/development/kernels.md, and prints the time of each unit on every GPU.

    python -m benchmarks.kernels.model            # from the counts kept in counts.json
    python -m benchmarks.kernels.model --count    # counts anew, for about ten minutes

Counting needs the build of scripts/build-for-emulator.
"""

from __future__ import annotations

import argparse

from benchmarks.kernels import document
from benchmarks.kernels.model import counts, tables
from benchmarks.kernels.model.gpus import GPUS
from benchmarks.kernels.model.rows import ROWS, all_keys
from tests.support.backends import is_emulated


def main(arguments: list[str] | None = None) -> int:
    """Write the tables; count before that if it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count on the CUDA emulator first")
    if parser.parse_args(arguments).count:
        if not is_emulated():
            print("Counting needs the CUDA emulator and works only where no GPU is visible.")
            return 2
        counts.COUNTS.write_text(counts.dump(counts.count_all(all_keys())))
    counted = counts.load()
    for name, text in tables.sections(counted).items():
        document.write(name, text)
    for gpu in GPUS:
        print(tables.units_table(counted, gpu, ROWS), end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
