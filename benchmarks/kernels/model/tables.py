"""Renders the tables of modelled times."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from benchmarks.kernels import document
from benchmarks.kernels.model import units
from benchmarks.kernels.model.counts import Counted, Kernels, load_measured
from benchmarks.kernels.model.gpus import GPUS, H200, Gpu
from benchmarks.kernels.model.rows import CHAINS_FROM, DEPENDENT_KERNELS, MEASURED, ROWS, UNIT_ROWS, Row, keys


def sections(counted: Counted) -> dict[str, str]:
    """Return the generated sections of the document."""
    return {
        "model table": table(counted),
        "model check table": check_table(),
        "model units table": units_table(counted, H200, UNIT_ROWS),
    }


def table(counted: Counted) -> str:
    """Return the table of all rows on all GPUs: modelled time, what binds it, roofline."""
    cells = [[row.name, *[_cell(row, gpu, counted) for gpu in GPUS]] for row in ROWS]
    return document.table(["modelled, us", *[gpu.name for gpu in GPUS]], cells)


def units_table(counted: Counted, gpu: Gpu, rows: Iterable[Row]) -> str:
    """Return the time of each unit for each kernel on a GPU; the longest is bold."""
    names = list(units.unit_times(dict.fromkeys(units.COUNTERS, 1), gpu, 1))
    cells = []
    for row in rows:
        for kernel, times in unit_times(row, gpu, counted).items():
            label = kernel.split("<")[0].removesuffix("_kernel")
            most = max(times.values())
            shown = [f"**{times[name]:.1f}**" if times[name] == most else f"{times[name]:.1f}" for name in names]
            cells.append([f"{row.name}: `{label}`", *shown])
    return document.table([f"modelled, us, {gpu.name}", *names], cells)


def check_table() -> str:
    """Return modelled beside measured times of the H200."""
    counted = load_measured()
    cells = []
    for row, measured in MEASURED:
        modelled = time(row, H200, counted, chained=False)
        cells.append([row.name, f"{modelled:.1f}", f"{measured:.1f}", f"{modelled / measured:.2f}"])
    return document.table(["H200", "modelled, us", "measured, us", "modelled / measured"], cells)


def time(row: Row, gpu: Gpu, counted: Counted, chained: bool = True) -> float:
    """Return the modelled microseconds of all kernels of a row, one after the other.

    `chained`: launched as dependents of each other, on GPUs that can.
    """
    chains = chained and gpu.capability >= CHAINS_FROM
    return sum(
        units.kernel_time(counts, gpu, _resident(row, name, gpu), chains and name.split("<")[0] in DEPENDENT_KERNELS)
        for name, counts in _kernels(row, gpu, counted).items()
    )


def unit_times(row: Row, gpu: Gpu, counted: Counted) -> dict[str, units.Times]:
    """Return the microseconds of each unit, by kernel."""
    kernels = _kernels(row, gpu, counted)
    return {name: units.unit_times(counts, gpu, _resident(row, name, gpu)) for name, counts in kernels.items()}


def floor(row: Row, gpu: Gpu, counted: Counted) -> float:
    """Return the roofline in microseconds: of the floor's bytes, or of those that ours touch if these are fewer."""
    facts = _combined(row, gpu, counted)["facts"]
    touched = sum(32 * counts["global_launch_sectors"] for counts in _kernels(row, gpu, counted).values())
    return units.roofline(min(facts["floor_bytes"], touched), facts["flops"], gpu)


def _cell(row: Row, gpu: Gpu, counted: Counted) -> str:
    by_kernel = unit_times(row, gpu, counted).values()
    longest = max(by_kernel, key=lambda times: max(times.values()))
    binds = max(longest, key=lambda unit: longest[unit])
    return f"{_short(time(row, gpu, counted))} {binds} ({_short(floor(row, gpu, counted))})"


def _short(microseconds: float) -> str:
    digits = 2 if microseconds < 1 else 1 if microseconds < 100 else 0
    return f"{microseconds:.{digits}f}"


def _kernels(row: Row, gpu: Gpu, counted: Counted) -> Kernels:
    found = _combined(row, gpu, counted)
    return {name: counts for name, counts in found.items() if name != "facts"}


def _combined(row: Row, gpu: Gpu, counted: Counted) -> Kernels:
    one, *two = (counted[key] for key in keys(row, gpu))
    return {name: units.extrapolate(one[name], two[0][name], row.factor) for name in one} if two else one


def _resident(row: Row, kernel: str, gpu: Gpu) -> int:
    """Return the blocks of a kernel that a multiprocessor runs at once."""
    return max(row.resident, _resident_by_table(kernel, gpu))


@cache
def _resident_by_table(kernel: str, gpu: Gpu) -> int:
    lines = [line.strip("| ").split(" | ") for line in document.read("compile table").splitlines()]
    header = next(line for line in lines if line[0] == "kernel")
    cells = next(line for line in lines if line[0] == f"`{kernel}`")
    share = float(cells[header.index(f"sm_{gpu.capability}")].split(", ")[1].rstrip("%")) / 100
    return round(share * gpu.architecture.warps / (int(cells[1]) / 32))
