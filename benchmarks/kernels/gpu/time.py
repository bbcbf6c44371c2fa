"""Times the operators on this machine's GPU, beside torchvision and plain PyTorch.

    python -m benchmarks.kernels.gpu.time [--json FILE] [--document]

Needs a CUDA build of PyTorch. Times are those of the kernels alone (profile.py), on inputs that the GPU's cache may
hold; ours also without them there. --document writes the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.kernels import document
from benchmarks.kernels.gpu import rivals
from benchmarks.kernels.gpu.channels_last import channels_last
from benchmarks.kernels.gpu.profile import Duration, duration
from engine import ops

DOCUMENT = document.ROOT / "docs" / "performance.md"
SECTION = "GPU kernels"
STRIDES = (8, 16, 32)
ANCHOR_SIZES = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
SCORE_THRESHOLD = 0.02
IOU_THRESHOLD = 0.4
INPUT = (640, 640)
CROP = (112, 112)
CROP_TEMPLATE = ((38.0, 52.0), (74.0, 52.0), (56.0, 72.0), (42.0, 92.0), (71.0, 92.0))  # about ArcFace's
# Batch, channels in, side of the map; 256 channels out.
CONVOLUTIONS = ((4, 256, 40), (1, 256, 20), (1, 256, 80), (4, 256, 160))
SIGMAS = (0.0, 1.0, 2.0, 4.0)  # of the offsets, in pixels

Call = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """An operator and, if there is one, what it is compared with.

    Attributes:
        name: operator, shapes and inputs.
        ours: call of engine.ops.
        rival: the same work by others.
    """

    name: str
    ours: Call
    rival: Call | None = None


@dataclass(frozen=True)
class Row:
    """What was measured of a comparison; times in microseconds.

    Attributes:
        name: as in Comparison.
        ours: our kernels.
        flushed: ours, with inputs that no cache holds.
        rival: theirs.
    """

    name: str
    ours: Duration
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
    ceilings = measure_ceilings()
    print(ceilings, flush=True)
    rows = []
    for comparison in comparisons(torch.device("cuda")):
        row = measure(comparison)
        rows.append(row)
        print("  ".join(cells(row)), flush=True)
    if options.json:
        figures = {"gpu": torch.cuda.get_device_name(), "ceilings": ceilings, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if options.document:
        document.write(SECTION, report(ceilings, rows), DOCUMENT)
    return 0


def measure(comparison: Comparison) -> Row:
    """Measure both sides, one after the other."""
    rival = None if comparison.rival is None else duration(comparison.rival)
    return Row(comparison.name, duration(comparison.ours), duration(comparison.ours, flush=True), rival)


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


def comparisons(device: torch.device) -> Iterator[Comparison]:
    """Yield all comparisons, with random inputs."""
    generator = torch.Generator(device).manual_seed(1)
    yield from _convolutions(device, generator)
    yield from _suppressions(device, generator)
    yield from _decodings(device, generator)
    yield from _letterboxes(device, generator)
    yield from _crops(device, generator)


def _convolutions(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    vision = rivals.torchvision_ops()
    for dtype in (torch.float16, torch.float32):
        for batch, channels, side in CONVOLUTIONS:
            x = torch.randn(batch, channels, side, side, device=device, dtype=dtype, generator=generator)
            weight = torch.randn(256, channels, 3, 3, device=device, dtype=dtype, generator=generator) * 0.02
            for sigma in SIGMAS:
                offset = torch.randn(batch, 18, side, side, device=device, dtype=dtype, generator=generator) * sigma
                name = f"{batch} x {channels} x {side} x {side}, offsets of {sigma:g} pixels"
                rival = vision and partial(vision.deform_conv2d, x, offset, weight, padding=1)
                ours = partial(ops.deform_conv, x, weight, offset, padding=1)
                yield Comparison(f"DeformConv {str(dtype)[6:]}, {name}", ours, rival)
                last = channels_last(x, weight, offset) if dtype == torch.float16 else None
                if last is not None:
                    yield Comparison(f"DeformConv channels-last float16, {name}", last, rival)


def _suppressions(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    vision = rivals.torchvision_ops()
    for batch in (1, 16):
        for count, clustered in ((5000, False), (5000, True), (200, False)):
            shape = (batch, count, 2)
            if clustered:
                cell = torch.randint(20, (batch, count, 1), device=device, generator=generator)
                centres = 31.0 * cell + 3 * torch.randn(shape, device=device, generator=generator)
            else:
                centres = 640 * torch.rand(shape, device=device, generator=generator)
            half = 4 + 20 * torch.rand(shape, device=device, generator=generator)
            boxes = torch.cat([centres - half, centres + half], -1)
            scores = torch.rand(batch, count, device=device, generator=generator).sort(1, descending=True).values
            landmarks = torch.rand(batch, count, 10, device=device, generator=generator)
            counts = torch.full((batch,), count, dtype=torch.int32, device=device)
            yield Comparison(
                f"NMS, {batch} x {count} candidates, {'clustered' if clustered else 'scattered'}",
                partial(ops.nms, boxes, scores, landmarks, counts, iou_threshold=IOU_THRESHOLD, max_detections=750),
                partial(vision.nms, boxes[0], scores[0], IOU_THRESHOLD) if vision and batch == 1 else None,
            )


def _decodings(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    for batch in (1, 16):
        for clean in (True, False):
            heads = []
            for stride in STRIDES:
                side = INPUT[0] // stride
                logits, boxes, landmarks = (
                    torch.randn(batch, 2 * n, side, side, device=device, generator=generator) for n in (2, 4, 10)
                )
                if clean:  # few candidates, as a trained network gives
                    logits[:, 0::2] += 12
                    logits[:, 1::2, 3:5, 3:5] += 20
                heads.append((logits, boxes, landmarks))
            yield Comparison(
                f"decode, {batch} x 16,800 anchors, {'few' if clean else 'most'} above the threshold, K = 5000",
                partial(
                    ops.decode,
                    heads,
                    strides=STRIDES,
                    anchor_sizes=ANCHOR_SIZES,
                    score_threshold=SCORE_THRESHOLD,
                    top_k=5000,
                ),
                partial(rivals.decode, heads, STRIDES, ANCHOR_SIZES, SCORE_THRESHOLD, 5000),
            )


def _letterboxes(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    for batch, height, width in ((1, 1080, 1920), (16, 1080, 1920), (1, 2160, 3840), (16, 480, 640)):
        shape = (height, width, 3)
        images = [
            torch.randint(255, shape, dtype=torch.uint8, device=device, generator=generator) for _ in range(batch)
        ]
        yield Comparison(
            f"letterbox, {batch} x {height} x {width} to {INPUT[0]} x {INPUT[1]}",
            partial(ops.letterbox, images, INPUT, mean=110.0),
            partial(rivals.letterbox, images, INPUT, 110.0),
        )


def _crops(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    image = torch.randint(255, (1080, 1920, 3), dtype=torch.uint8, device=device, generator=generator)
    template = torch.tensor(CROP_TEMPLATE, device=device)
    middle = CROP[0] / 2
    for faces in (1, 64):
        # Faces of about the crop's size, turned by up to 20 degrees.
        turn, scale, x, y = torch.rand(4, faces, device=device, generator=generator)
        turn, scale = (2 * turn - 1) * math.radians(20), 0.7 + 0.6 * scale
        a, b = scale * turn.cos(), scale * turn.sin()
        back = torch.stack([a, -b, 130 + 1660 * x, b, a, 130 + 820 * y], -1).reshape(faces, 2, 3)
        landmarks = (template - middle) @ back[:, :, :2].mT + back[:, None, :, 2]
        back[:, :, 2] -= back[:, :, :2].sum(-1) * middle  # from crops, not from their middle, to the image
        yield Comparison(
            f"align, {faces} of 1080 x 1920 to {CROP[0]} x {CROP[1]}",
            partial(ops.align, image, landmarks.reshape(faces, 10), template=CROP_TEMPLATE, size=CROP),
            partial(rivals.align, image, back, CROP),
        )


def cells(row: Row) -> list[str]:
    """Return a line of the table: name, our microseconds, theirs, and how many times as long theirs take."""
    ours = [row.name, *(f"{one.microseconds:.1f}" for one in (row.ours, row.flushed))]
    if row.rival is None:
        return [*ours, "", ""]
    return [*ours, f"{row.rival.microseconds:.1f}", f"{row.rival.microseconds / row.ours.microseconds:.2f}"]


def report(ceilings: str, rows: list[Row]) -> str:
    """Return the section of docs/performance.md."""
    header = ("operator", "ours, us", "L2 flushed, us", "theirs, us", "theirs / ours")
    return f"{ceilings}\n\n{document.table(header, [cells(row) for row in rows])}"


if __name__ == "__main__":
    sys.exit(main())
