"""What is timed on a GPU: every operator through its launcher, and the same work by torchvision or plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels.gpu import rivals
from benchmarks.kernels.gpu.channels_last import channels_last
from engine import ops
from tests.csrc.launchers import operations
from tests.csrc.launchers.launchers import HWC8, LINEAR, Operation
from tests.csrc.ops import test_anchor_decode as decode_cases
from tests.csrc.ops import test_batched_nms as nms_cases
from tests.csrc.ops import test_deform_conv as deform_cases
from tests.csrc.plugins.driver import Array, Library

STRIDES = (8, 16, 32)
ANCHOR_SIZES = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
SCORE_THRESHOLD = 0.02
TOP_K = 5000
MAX_DETECTIONS = 750
INPUT = (640, 640)
LEVELS = tuple(
    (INPUT[0] // stride, INPUT[1] // stride, stride, sizes) for stride, sizes in zip(STRIDES, ANCHOR_SIZES, strict=True)
)
MEAN = 110.0
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
        operation: makes the same for its launcher, from the same inputs.
        rival: the same work by others.
        modelled: name of the row of the cost model with the same kernels and shapes.
    """

    name: str
    ours: Call
    operation: Callable[[Library], Operation]
    rival: Call | None = None
    modelled: str | None = None


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
            bias = torch.randn(256, device=device, dtype=dtype, generator=generator)
            mask = torch.rand(batch, 9, side, side, device=device, dtype=dtype, generator=generator)
            case = deform_cases.Case("", batch, (channels, 256), (side, side))
            for sigma in SIGMAS:
                offset = torch.randn(batch, 18, side, side, device=device, dtype=dtype, generator=generator) * sigma
                tensors = (x, weight, offset, bias, mask)
                shape = f"{batch} x {channels} x {side} x {side}"
                name = f"{shape}, offsets of {sigma:g} pixels"
                rival = vision and partial(vision.deform_conv2d, x, offset, weight, bias, padding=1, mask=mask)
                of = partial(_convolution, tensors=tensors, case=case, dtype=str(dtype)[6:])
                is_half = dtype == torch.float16
                yield Comparison(
                    f"DeformConv {str(dtype)[6:]}, {name}",
                    partial(ops.deform_conv, *tensors, padding=1),
                    of,
                    rival,
                    f"DeformConv {shape}, sigma {sigma:g}" if is_half else None,
                )
                last = channels_last(*tensors) if is_half else None
                if last is not None:
                    of_last = partial(of, layout=HWC8)
                    yield Comparison(f"DeformConv channels-last float16, {name}", last, of_last, rival)


def _convolution(
    library: Library, tensors: tuple[Tensor, ...], case: deform_cases.Case, dtype: str, layout: int = LINEAR
) -> Operation:
    return operations.deform_conv_of(library, [_host(tensor) for tensor in tensors], case, dtype, layout)


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
            how = "clustered" if clustered else "scattered"
            tensors = (boxes, scores, landmarks, counts)
            case = nms_cases.Case("", count, (count,) * batch, max_detections=MAX_DETECTIONS)
            yield Comparison(
                f"NMS, {batch} x {count} candidates, {how}",
                partial(ops.nms, *tensors, iou_threshold=case.iou_threshold, max_detections=MAX_DETECTIONS),
                partial(_suppression, tensors=tensors, case=case),
                partial(vision.nms, boxes[0], scores[0], case.iou_threshold) if vision and batch == 1 else None,
                f"NMS {batch} x {count}, {how}",
            )


def _suppression(library: Library, tensors: tuple[Tensor, ...], case: nms_cases.Case) -> Operation:
    return operations.nms_of(library, [_host(tensor) for tensor in tensors], case)


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
            images = "1 image" if batch == 1 else f"{batch} images"
            case = decode_cases.Case("", LEVELS, (0,) * batch, SCORE_THRESHOLD, TOP_K)
            yield Comparison(
                f"decode, {batch} x 16,800 anchors, {'few' if clean else 'most'} above the threshold, K = {TOP_K}",
                partial(
                    ops.decode,
                    heads,
                    strides=STRIDES,
                    anchor_sizes=ANCHOR_SIZES,
                    score_threshold=SCORE_THRESHOLD,
                    top_k=TOP_K,
                ),
                partial(_decoding, heads=heads, case=case),
                partial(rivals.decode, heads, STRIDES, ANCHOR_SIZES, SCORE_THRESHOLD, TOP_K),
                f"decode {images}, {'few faces' if clean else 'most pass'}",
            )


def _decoding(library: Library, heads: Sequence[tuple[Tensor, ...]], case: decode_cases.Case) -> Operation:
    return operations.decode_of(library, [[_host(head) for head in level] for level in heads], case)


def _letterboxes(device: torch.device, generator: torch.Generator) -> Iterator[Comparison]:
    for batch, height, width in ((1, 1080, 1920), (16, 1080, 1920), (1, 2160, 3840), (16, 480, 640)):
        shape = (height, width, 3)
        images = [
            torch.randint(255, shape, dtype=torch.uint8, device=device, generator=generator) for _ in range(batch)
        ]
        yield Comparison(
            f"letterbox, {batch} x {height} x {width} to {INPUT[0]} x {INPUT[1]}",
            partial(ops.letterbox, images, INPUT, mean=MEAN),
            partial(_letterbox, images=images),
            partial(rivals.letterbox, images, INPUT, MEAN),
            f"letterbox {batch} x {height} x {width}",
        )


def _letterbox(library: Library, images: list[Tensor]) -> Operation:
    options = {"mean": (MEAN,) * 3, "std": (1.0,) * 3, "pad_value": (0,) * 3, "swap_rb": False, "dtype": "float32"}
    return operations.letterbox_of(library, *_rows(images), INPUT, options)


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
            partial(_alignment, image=image, landmarks=landmarks.reshape(faces, 10)),
            partial(rivals.align, image, back, CROP),
            f"align {faces} {'face' if faces == 1 else 'faces'} to {CROP[0]} x {CROP[1]}",
        )


def _alignment(library: Library, image: Tensor, landmarks: Tensor) -> Operation:
    template = np.array(CROP_TEMPLATE, np.float32)
    return operations.align_of(library, *_rows([image]), (_host(landmarks), None), template, CROP)


def _rows(images: list[Tensor]) -> tuple[list[Array], list[int]]:
    """Return each image as rows of bytes, and its width in pixels."""
    return [_host(image).reshape(len(image), -1) for image in images], [image.shape[1] for image in images]


def _host(tensor: Tensor) -> Array:
    array: Array = np.ascontiguousarray(tensor.cpu().numpy())
    return array
