"""Compiles every kernel for every architecture and writes the table of docs/development/kernels.md.

    python -m benchmarks.kernels.compile_sweep            # rewrites the table
    python -m benchmarks.kernels.compile_sweep --check    # fails if the table is out of date

Both fail on a compiler warning, on a kernel that spills registers, and on a kernel with a stack frame: no kernel needs
one, except for the spills of a subroutine, which ptxas does not count as spills of the kernel.
"""

from __future__ import annotations

import argparse

from benchmarks.kernels import document
from benchmarks.kernels.occupancy import ARCHITECTURES, occupancy
from benchmarks.kernels.ptxas import Compiled, compile_all, nvcc_version

TABLE = "compile table"


def main(arguments: list[str] | None = None) -> int:
    """Compile all kernels; write the table, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the table in the document, write nothing")
    options = parser.parse_args(arguments)
    compiled = compile_all()
    text = render(compiled)
    bad = [one for one in compiled if one.spills or one.stack]
    for one in bad:
        print(f"{one.kernel} spills {one.spills} bytes on sm_{one.architecture}; its stack frame has {one.stack}")
    most = max(compiled, key=lambda one: one.registers)
    print(
        f"{len(compiled)} kernels compiled; at most {most.registers} registers ({most.kernel}, sm_{most.architecture})"
    )
    if not options.check:
        document.write(TABLE, text)
    elif document.read(TABLE) != text:
        written_by = document.read(TABLE).splitlines()[0]
        if written_by.split(";")[0] != text.split(";")[0]:
            print(f"The table was not compared: another compiler made it. Its first line: {written_by}")
        else:
            print("The table in docs/development/kernels.md is out of date: make kernel-table rewrites it.")
            return 1
    return 1 if bad else 0


def render(compiled: list[Compiled]) -> str:
    """Return the table: a row per kernel, a column per architecture."""
    rows = []
    for source, kernel in dict.fromkeys((one.source, one.kernel) for one in compiled):
        found = {one.architecture: one for one in compiled if (one.source, one.kernel) == (source, kernel)}
        cells = [_cell(found[architecture]) if architecture in found else "-" for architecture in ARCHITECTURES]
        reference = found[80]
        shared = f"{reference.static_shared / 1024:.1f} + {reference.dynamic_shared / 1024:.1f}"
        rows.append([f"`{kernel}`", reference.threads, shared, *cells])
    spills, stack = (sum(getattr(one, name) for one in compiled) for name in ("spills", "stack"))
    header = ["kernel", "threads", "shared KiB", *[f"sm_{architecture}" for architecture in ARCHITECTURES]]
    return (
        f"nvcc {nvcc_version()}; bytes spilled by all kernels on all architectures: {spills}, in stack frames: {stack}."
        + "\n\n"
        + document.table(header, rows)
    )


def _cell(one: Compiled) -> str:
    share = occupancy(
        ARCHITECTURES[one.architecture], one.threads, one.registers, one.static_shared + one.dynamic_shared
    )
    return f"{one.registers}, {share:.0%}"


if __name__ == "__main__":
    raise SystemExit(main())
