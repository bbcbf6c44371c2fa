"""Runs the kernels on the CUDA emulator, counts their work, and writes the tables of docs/development/kernels.md.

    python -m benchmarks.kernels.count

Needs the build of scripts/build-for-emulator; takes a few minutes. Fails if a limit is exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kernels import document
from benchmarks.kernels.limits import LIMITS, distinct_ratio, load_ratio, traffic_ratio
from benchmarks.kernels.statistics import Counted, count_all
from benchmarks.kernels.workloads import WORKLOADS
from tests.support.backends import is_emulated

Results = dict[str, Counted]


def main() -> int:
    """Count all workloads, write the tables, print the limits that do not hold."""
    if not is_emulated():
        print(
            "Counting needs the CUDA emulator and works only where no GPU is visible. "
            "scripts/build-for-emulator VENV builds the emulator; an empty CUDA_VISIBLE_DEVICES hides GPUs."
        )
        return 2
    results = count_all(list(WORKLOADS))
    document.write("decode table", decode_table(results))
    document.write("nms table", nms_table(results))
    document.write("deform_conv table", deform_conv_table(results))
    document.write("letterbox table", pictures_table(results, "letterbox"))
    document.write("align table", pictures_table(results, "align"))
    document.write("limits table", limits_table(results))
    broken = [limit for limit in LIMITS if not limit.holds(results[limit.workload])]
    for limit in broken:
        print(f"{limit.workload}: {limit.figure} is {limit.measure(results[limit.workload]):,.2f}")
    print(f"{len(LIMITS) - len(broken)} of {len(LIMITS)} limits hold.")
    return 1 if broken else 0


def decode_table(results: Results) -> str:
    """Return the table of decoding: launches, instructions and sectors."""
    header = ["", "launches", "survivors", "written", "warp instructions", "sectors loaded", "/ compulsory",
              "/ distinct", "of the heads", "sectors stored"]  # fmt: skip
    rows = []
    for name, c in _of(results, "decode"):
        heads = c.loaded / c.facts["head_sectors"]
        rows.append([name, c.launches, int(c.facts["survivors"]), int(c.facts["selected"]), _n(c.warp_instructions),
                     _n(c.loaded), f"{load_ratio(c):.2f}", f"{distinct_ratio(c):.2f}", f"{heads:.0%}",
                     _n(c.stored)])  # fmt: skip
    pipeline = results["pipeline batch 16"]
    return (
        document.table(header, rows)
        + f"\n\nHeads to faces, 16 images, float16, K = 750, M = 200: {pipeline.launches} launches, "
        + f"{_n(pipeline.warp_instructions)} warp instructions, {_n(pipeline.loaded)} sectors loaded, "
        + f"{_n(pipeline.stored)} stored; {int(pipeline.facts['selected'])} candidates, "
        + f"{int(pipeline.facts['faces'])} detections."
    )


def nms_table(results: Results) -> str:
    """Return the table of NMS."""
    header = ["", "kept", "launches", "blocks", "warp instructions", "sectors loaded", "stored", "/ compulsory"]
    rows = [
        [name, int(c.facts["kept"]), c.launches, c.total("blocks"), _n(c.warp_instructions), _n(c.loaded),
         _n(c.stored), f"{traffic_ratio(c):.1f}"]
        for name, c in _of(results, "nms")
    ]  # fmt: skip
    return document.table(header, rows)


def deform_conv_table(results: Results) -> str:
    """Return the table of the deformable convolution."""
    header = ["", "launches", "blocks", "warp instructions", "m16n8k16", "MB requested", "MB by lanes", "MB stored"]
    rows = [
        [name, c.launches, c.total("blocks"), _n(c.warp_instructions), _n(int(c.matrix_instructions)),
         _mb(c.requested_bytes), _mb(c.total("global_load_bytes") + c.total("global_store_bytes")),
         _mb(c.total("global_store_bytes"))]
        for name, c in _of(results, "deform_conv")
    ]  # fmt: skip
    floor = results["deform_conv"].facts
    return document.table(header, rows) + (
        f"\n\nFloor of the whole batch: {_mb(int(floor['compulsory_bytes']))} MB, of which the output is "
        + f"{_mb(int(floor['output_bytes']))} MB; {_n(int(floor['multiply_adds']))} multiply-adds, "
        + f"which are {_n(int(floor['matrix_instructions']))} instructions m16n8k16."
    )


def pictures_table(results: Results, operator: str) -> str:
    """Return the table of letterboxing or of aligned crops."""
    header = ["", "launches", "blocks", "warp instructions", "MB compulsory", "MB requested", "MB by lanes"]
    rows = [
        [name, c.launches, c.total("blocks"), _n(c.warp_instructions), _mb(int(c.facts["compulsory_bytes"])),
         _mb(c.requested_bytes), _mb(c.total("global_load_bytes") + c.total("global_store_bytes"))]
        for name, c in _of(results, operator)
    ]  # fmt: skip
    return document.table(header, rows)


def limits_table(results: Results) -> str:
    """Return the table of limits beside the counted figures."""
    rows: list[Sequence[object]] = []
    for limit in LIMITS:
        bound = f"at least {limit.at_least:,g}" if limit.at_least else f"at most {limit.at_most:,.9g}"
        value = limit.measure(results[limit.workload])
        counted = f"{value:.2f}" if " / " in limit.figure else _n(int(value))
        rows.append([limit.workload, limit.figure, counted, bound])
    return document.table(["workload", "figure", "counted", "limit"], rows)


def _of(results: Results, operator: str) -> list[tuple[str, Counted]]:
    start = f"{operator} "
    return [
        (name.removeprefix(start) if name != operator else "linear", counted)
        for name, counted in results.items()
        if name == operator or name.startswith(start)
    ]


def _n(value: int) -> str:
    return f"{value:,}"


def _mb(value: int) -> str:
    return f"{value / 1e6:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
