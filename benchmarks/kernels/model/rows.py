"""The rows of the modelled tables, and which counts they need."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.kernels.model.gpus import GPUS, Gpu


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        name: what the reader sees.
        workload: of workloads.MODEL_WORKLOADS.
        twice: a workload with twice the work, if the row is extrapolated.
        factor: how many times the work of `workload` the row has.
        divided: whether the launcher divides tiles among more blocks, by the number of multiprocessors.
        resident: least number of blocks that a multiprocessor runs at once; the compile table may allow more.
    """

    name: str
    workload: str
    twice: str | None = None
    factor: int = 1
    divided: bool = False
    resident: int = 1


def _convolution(batch: int, side: int, sigma: int) -> Row:
    name = f"DeformConv {batch} x 256 x {side} x {side}, sigma {sigma}"
    return Row(name, f"deform_conv linear {batch} x {side} x {side} sigma {sigma}", divided=True)


def _large_convolution(how: str, sigma: int, resident: int = 1) -> Row:
    # 4 x 160 x 160 pixels are 32 times 2 x 40 x 40: more tiles than multiprocessors, so none is divided.
    small, large = (f"deform_conv {how} {batch} x 40 x 40 sigma {sigma}" for batch in (2, 4))
    return Row(f"DeformConv 4 x 256 x 160 x 160, sigma {sigma}", small, large, 32, resident=resident)


_LETTERBOXES = (
    Row("letterbox 1 x 1080 x 1920", "letterbox 1080 x 1"),
    Row("letterbox 16 x 1080 x 1920", "letterbox 1080 x 16"),
    Row("letterbox 16 x 480 x 640", "letterbox 480 x 16"),
)
_DECODE = Row("decode 1 image, few faces", "decode clean x 1")

ROWS = (
    _DECODE,
    Row("decode 16 images, few faces", "decode clean x 16"),
    Row("decode 1 image, most pass", "decode random x 1"),
    Row("decode 16 images, most pass", "decode random x 16"),
    Row("NMS 1 x 5000, scattered", "nms scattered x 1"),
    Row("NMS 1 x 5000, clustered", "nms clustered x 1"),
    Row("NMS 16 x 5000, scattered", "nms scattered x 16"),
    Row("NMS 16 x 5000, clustered", "nms clustered x 16"),
    *[_convolution(4, 40, sigma) for sigma in (1, 2, 4)],
    *[_convolution(1, 20, sigma) for sigma in (1, 2, 4)],
    *[_large_convolution("linear", sigma) for sigma in (1, 2, 4)],
    *_LETTERBOXES,
    Row("align 1 face to 112 x 112", "align x 1"),
    Row("align 64 faces to 112 x 112", "align x 64"),
)

# Kernels that start before the one before them has ended: all of decoding and NMS but the first of each.
DEPENDENT_KERNELS = {
    "select_candidates_kernel", "decode_selected_kernel", "find_overlaps_kernel", "suppress_kernel",
    "find_votes_kernel", "vote_kernel", "decode_heads_kernel", "carry_kernel",
}  # fmt: skip
CHAINS_FROM = 90  # compute capability 9.0

FACTOR = 1.5  # between modelled and measured times, at most
# Microseconds on an H200, from docs/performance.md, of kernels that are still the same or nearly so, and of an early
# form of the convolution (former_counts.json) in channels-last layout. It had blocks of 256 threads, of which a
# multiprocessor could run two, and did not divide tiles: 4 us for the weights, then the product.
MEASURED = (
    *zip(_LETTERBOXES, (5.5, 44.5, 43.6), strict=True),
    (_DECODE, 8.8),
    (Row("DeformConv 4 x 256 x 40 x 40, sigma 1", "deform_conv channels_last 4 x 40 x 40 sigma 1"), 4.0 + 70),
    (Row("DeformConv 4 x 256 x 40 x 40, sigma 4", "deform_conv channels_last 4 x 40 x 40 sigma 4"), 4.0 + 72),
    (_large_convolution("channels_last", 1, resident=2), 4.0 + 623),
)
_LEFT_OUT = ("sigma 2", "sigma 4", "clustered", "few faces")  # of the second table, which has a line for each kernel
UNIT_ROWS = [row for row in ROWS if not row.name.endswith(_LEFT_OUT)]


def all_keys() -> list[str]:
    """Return the keys of all counts that the tables need."""
    return sorted({key for row in ROWS for gpu in GPUS for key in keys(row, gpu)})


def keys(row: Row, gpu: Gpu) -> list[str]:
    """Return the keys of a row's counts: one, or two to extrapolate from."""
    workloads = [row.workload] if row.twice is None else [row.workload, row.twice]
    if not row.workload.startswith("deform_conv"):
        return workloads
    # With one multiprocessor, nothing is divided.
    multiprocessors = gpu.multiprocessors if row.divided else 1
    capability = gpu.capability if gpu.capability in (75, 90) else 80  # of the PTX
    shared = 99 if gpu.capability != 75 and not row.divided else gpu.architecture.block_shared_kib
    return [f"{name}; sm_{capability}, {multiprocessors} multiprocessors, {shared} KiB" for name in workloads]
