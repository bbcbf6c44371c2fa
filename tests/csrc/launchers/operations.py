"""Every operator, with parameters and random inputs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from engine import ops
from tests.csrc.ops import test_align as align_cases
from tests.csrc.ops import test_anchor_decode as decode_cases
from tests.csrc.ops import test_batched_nms as nms_cases
from tests.csrc.ops import test_deform_conv as deform_cases
from tests.csrc.ops.test_letterbox import MEAN, PAD, STD
from tests.csrc.plugins.driver import Array, Library
from tests.support.oracles.letterbox import placement

from .heads import DECODED_HEADS, SUPPRESSED_HEADS, decode_heads, decoding, nms_heads
from .launchers import (
    DTYPES,
    HWC8,
    LINEAR,
    NUMPY,
    AlignInputs,
    AlignOutputs,
    AlignParams,
    BatchedNmsInputs,
    BatchedNmsOutputs,
    BatchedNmsParams,
    DeformConvInputs,
    DeformConvParams,
    ImageView,
    LetterboxParams,
    Operation,
    UnletterboxInputs,
    UnletterboxOutputs,
    UnletterboxParams,
    UnletterboxPlacement,
    Workspace,
)

Make = Callable[[Library, np.random.Generator], Operation]
_PER_CHANNEL = ((ctypes.c_float, "mean"), (ctypes.c_float, "std"), (ctypes.c_uint8, "pad_value"))


def decode(library: Library, rng: np.random.Generator, case: decode_cases.Case, dtype: str = "float32") -> Operation:
    """Return an anchor decode of random heads."""
    return decode_of(library, decode_cases.random_heads(rng, case), case, dtype)


def decode_of(
    library: Library, given_heads: Sequence[Sequence[Array | None]], case: decode_cases.Case, dtype: str = "float32"
) -> Operation:
    """Return an anchor decode of a case's heads."""
    has = (len(case.above), 5 if case.landmarks else 0, (), case.cascade)
    return decoding(library, given_heads, case.levels, case.options(), dtype, has)


def nms(library: Library, rng: np.random.Generator, case: nms_cases.Case) -> Operation:
    """Return a suppression of random candidates."""
    return nms_of(library, nms_cases.random_candidates(rng, case), case)


def nms_of(library: Library, candidates: Sequence[Array | None], case: nms_cases.Case) -> Operation:
    """Return a suppression of a case's candidates."""
    batch, slots = len(case.count), case.max_detections
    params = BatchedNmsParams(
        batch=batch,
        num_candidates=case.slots,
        max_detections=slots,
        iou_threshold=case.iou_threshold,
        voting=case.voting,
        payload_size=10 if case.landmarks else 0,
    )
    outputs: list[Any] = [(np.int32, (batch,)), (np.float32, (batch, slots, 4)), (np.float32, (batch, slots))]
    outputs += [(np.float32, (batch, slots, 10))] * case.landmarks + [(np.int32, (batch, slots))]

    def launch(given: Sequence[int], results: Sequence[int], workspace: Workspace, stream: int) -> int:
        boxes, scores, *landmarks, count = given
        inputs = BatchedNmsInputs(boxes, scores, landmarks[0] if landmarks else None, count)
        num, *kept, indices = results
        filled = BatchedNmsOutputs(num, *kept[:2], kept[2] if case.landmarks else None, indices)
        structures = [ctypes.byref(s) for s in (params, inputs, filled)]
        return int(library.call("nms", *structures, workspace.address, workspace.size, stream))

    return Operation(
        [array for array in candidates if array is not None],
        outputs,
        library.call("nms_workspace", ctypes.byref(params)),
        launch,
        [array for array in ops.nms(*candidates, **case.options()) if array is not None],
    )


def letterbox(library: Library, rng: np.random.Generator, dtype: str) -> Operation:
    """Return a letterbox of 70 images, more than one launch takes, with padded rows."""
    pitch = 3 * 50 + 7
    shapes = [(int(h), int(w)) for h, w in np.random.default_rng(1).integers(1, 51, (70, 2))]
    rows = [rng.integers(0, 256, (height, pitch), dtype=np.uint8) for height, _ in shapes]
    options = {"mean": MEAN, "std": STD, "pad_value": PAD, "swap_rb": True, "dtype": dtype}
    return letterbox_of(library, rows, [width for _, width in shapes], (40, 33), options)


def letterbox_of(
    library: Library, images: list[Array], widths: Sequence[int], size: tuple[int, int], options: dict[str, Any]
) -> Operation:
    """Return a letterbox of images whose rows [height, bytes] begin with so many pixels, with options of engine.ops."""
    pitch, dtype = images[0].shape[1], options["dtype"]
    shapes = [(len(image), width) for image, width in zip(images, widths, strict=True)]
    mean, std, pad = ((kind * 3)(*options[name]) for kind, name in _PER_CHANNEL)
    params = LetterboxParams(len(images), *size, mean, std, pad)
    params.swap_rb, params.enlarge, params.dtype = options["swap_rb"], True, DTYPES[dtype]
    outputs: list[Any] = [(NUMPY[dtype], (len(images), 3, *size)), (np.float32, (len(images), 3))]

    def launch(given: Sequence[int], results: Sequence[int], _: Workspace, stream: int) -> int:
        views = [ImageView(a, height, width, pitch) for a, (height, width) in zip(given, shapes, strict=True)]
        array = (ImageView * len(views))(*views)
        return int(library.call("letterbox", ctypes.byref(params), array, *results, stream))

    pixels = [image[:, : 3 * width].reshape(-1, width, 3) for image, (_, width) in zip(images, shapes, strict=True)]
    expected = ops.letterbox(pixels, size, **options)
    return Operation(images, outputs, 0, launch, list(expected))


def unletterbox(library: Library, rng: np.random.Generator, points: int, counted: bool = True) -> Operation:
    """Return an unletterbox to 70 images, more than one launch takes."""
    size, batch, slots = (40, 33), 70, 131
    shapes = [(int(h), int(w)) for h, w in np.random.default_rng(1).integers(1, 300, (batch, 2))]
    inputs = [rng.uniform(0, 640, (batch, slots, width)).astype(np.float32) for width in (4, 2 * points) if width]
    outputs: list[Any] = [(np.float32, array.shape) for array in inputs]
    count = np.full(batch, slots, np.int32)
    if counted:
        count[1:] = rng.integers(0, slots, batch - 1)
    expected = ops.unletterbox(inputs[0], inputs[1] if points else None, count, shapes, size)
    params = UnletterboxParams(batch, slots, points)
    placements = (UnletterboxPlacement * batch)()
    for back, (height, width) in zip(placements, shapes, strict=True):
        _, resized, (back.pad_x, back.pad_y) = placement(height, width, size)
        back.factor_x, back.factor_y = width / resized[1], height / resized[0]

    def launch(given: Sequence[int], results: Sequence[int], _: Workspace, stream: int) -> int:
        boxes, *landmarks, counts = given
        inputs = UnletterboxInputs(boxes, landmarks[0] if landmarks else None, counts if counted else None)
        filled = UnletterboxOutputs(*results)
        structures = ctypes.byref(params), placements, ctypes.byref(inputs), ctypes.byref(filled)
        return int(library.call("unletterbox", *structures, stream))

    return Operation([*inputs, count], outputs, 0, launch, [array for array in expected if array is not None])


def align(library: Library, rng: np.random.Generator, size: tuple[int, int], indexed: bool = True) -> Operation:
    """Return aligned crops of faces in 130 images, more than one launch takes, or in one, with padded rows."""
    pitch = 3 * 50 + 7
    count = 130 if indexed else 1
    shapes = [(int(h), int(w)) for h, w in np.random.default_rng(1).integers(1, 51, (count, 2))]
    images = [rng.integers(0, 256, (height, pitch), dtype=np.uint8) for height, _ in shapes]
    faces = [align_cases.Face(i % count, scale=0.3, degrees=25 * i) for i in range(0, 3 * 130, 37)]
    landmarks, indices = align_cases.landmarks_of(rng, faces, shapes)
    widths, template = [width for _, width in shapes], align_cases.TEMPLATE
    return align_of(library, images, widths, (landmarks, indices if indexed else None), template, size)


def align_of(
    library: Library,
    images: list[Array],
    widths: Sequence[int],
    faces: tuple[Array, Array | None],
    template: Array,
    size: tuple[int, int],
) -> Operation:
    """Return crops of faces, landmarks and perhaps their images, in images like those of letterbox_of."""
    landmarks, indices = faces
    pitch, count, crops = images[0].shape[1], len(images), len(landmarks)
    shapes = [(len(image), width) for image, width in zip(images, widths, strict=True)]
    params = AlignParams(crops, count, *size, (ctypes.c_float * 10)(*template.reshape(10)))
    outputs: list[Any] = [(np.uint8, (crops, *size, 3)), (np.float32, (crops, 2, 3))]

    def launch(given: Sequence[int], results: Sequence[int], _: Workspace, stream: int) -> int:
        pixels, (points, *where) = given[:count], given[count:]
        views = [ImageView(a, height, width, pitch) for a, (height, width) in zip(pixels, shapes, strict=True)]
        inputs, filled = AlignInputs(points, where[0] if where else None), AlignOutputs(*results)
        structures = ctypes.byref(params), (ImageView * count)(*views), ctypes.byref(inputs), ctypes.byref(filled)
        return int(library.call("align", *structures, stream))

    pixels = [image[:, : 3 * width].reshape(-1, width, 3) for image, (_, width) in zip(images, shapes, strict=True)]
    expected = ops.align(pixels, landmarks, indices, template=template, size=size)
    given_faces = [landmarks] if indices is None else [landmarks, indices]
    return Operation([*images, *given_faces], outputs, 0, launch, list(expected))


def to_hwc8(x: Array) -> Array:
    """Convert NCHW to NHWC, channels padded to a multiple of 8. The padding is 7: kernels must not rely on zeros."""
    room = np.full((x.shape[0], *x.shape[2:], -x.shape[1] % 8), 7, x.dtype)
    return np.concatenate([x.transpose(0, 2, 3, 1), room], axis=3)


def deform_conv_params(case: deform_cases.Case, dtype: str, layout: int = LINEAR) -> DeformConvParams:
    """Return a case's parameters."""
    params = DeformConvParams(case.batch, case.channels[0], *case.size, case.channels[1], *case.kernel, *case.stride)
    params.pad_top, params.pad_left, params.pad_bottom, params.pad_right = case.padding
    params.dilation_h, params.dilation_w = case.dilation
    params.groups, params.offset_groups = case.groups, case.offset_groups
    params.dtype, params.layout = DTYPES[dtype], layout
    return params


def deform_conv(
    library: Library, rng: np.random.Generator, case: deform_cases.Case, dtype: str, layout: int = LINEAR
) -> Operation:
    """Return a deformable convolution of random tensors."""
    return deform_conv_of(library, case.random(rng), case, dtype, layout)


def deform_conv_of(
    library: Library, given: deform_cases.Tensors, case: deform_cases.Case, dtype: str, layout: int = LINEAR
) -> Operation:
    """Return a deformable convolution of a case's tensors."""
    tensors = [None if t is None else t.astype(NUMPY[dtype]) for t in given]
    x, _, offset, _, _ = tensors
    assert x is not None
    assert offset is not None
    params = deform_conv_params(case, dtype, layout)
    shape: tuple[int, ...] = (case.batch, case.channels[1], *offset.shape[2:])
    if layout == HWC8:
        tensors[0] = to_hwc8(x)
        shape = (case.batch, *offset.shape[2:], -(-case.channels[1] // 8) * 8)

    def launch(given: Sequence[int], results: Sequence[int], workspace: Workspace, stream: int) -> int:
        addresses: Iterator[int] = iter(given)
        inputs = DeformConvInputs(*[None if t is None else next(addresses) for t in tensors])
        structures = ctypes.byref(params), ctypes.byref(inputs), results[0]
        return int(library.call("deform_conv", *structures, workspace.address, workspace.size, stream))

    return Operation(
        [t for t in tensors if t is not None],
        [(NUMPY[dtype], shape)],
        library.call("deform_conv_workspace", ctypes.byref(params)),
        launch,
    )


DEFORMED = {
    "whole steps": deform_cases.Case("", 2, (32, 72), (13, 11)),
    "ragged": deform_cases.Case("", 2, (21, 30), (9, 12), (3, 2), (2, 1), (1, 0, 2, 3), groups=3, bias=False),
    "far": deform_cases.Case("", 1, (32, 24), (30, 20), mask=False, spread=15.0),
    "split": deform_cases.Case("", 2, (200, 40), (7, 9), offset_groups=2),
}
DECODED = {
    "few": decode_cases.CASES[4],
    "more than can be sorted": decode_cases.CASES[13],
    "cascade": next(case for case in decode_cases.CASES if case.id == "cascade, anchors that are not square"),
}


def _suppressed() -> dict[str, Make]:
    makes: dict[str, Make] = {}
    for voting in (False, True):
        for landmarks in (False, True):
            case = nms_cases.Case("", 700, (700, 0, 301), 40, voting=voting, landmarks=landmarks)
            name = f"nms{', voting' * voting}{', landmarks' * landmarks}"
            makes[name] = partial(nms, case=case)
    return makes


OPERATIONS: dict[str, Make] = {
    **{f"decode, {dtype}": partial(decode, case=DECODED["few"], dtype=dtype) for dtype in DTYPES},
    **{f"decode, {dtype}, cascade": partial(decode, case=DECODED["cascade"], dtype=dtype) for dtype in DTYPES},
    "decode, more than can be sorted": partial(decode, case=DECODED["more than can be sorted"]),
    **{
        f"decode, heads, {name}": partial(decode_heads, case=case, dtype=dtype)
        for name, (case, dtype) in DECODED_HEADS.items()
    },
    **_suppressed(),
    **{
        f"nms, heads, {name}": partial(nms_heads, classes=classes, payload=payload, agnostic=agnostic)
        for name, (classes, payload, agnostic) in SUPPRESSED_HEADS.items()
    },
    **{f"letterbox, {dtype}": partial(letterbox, dtype=dtype) for dtype in ("float32", "float16")},
    "unletterbox": partial(unletterbox, points=0),
    "unletterbox, landmarks": partial(unletterbox, points=5),
    "unletterbox, 68 points": partial(unletterbox, points=68),
    "unletterbox, all slots": partial(unletterbox, points=5, counted=False),
    "align": partial(align, size=(112, 112)),
    "align, odd sizes": partial(align, size=(45, 43)),
    "align, one image": partial(align, size=(45, 43), indexed=False),
    **{
        f"deform_conv, {dtype}, {name}": partial(deform_conv, case=case, dtype=dtype)
        for dtype in DTYPES
        for name, case in DEFORMED.items()
    },
    **{
        f"deform_conv, {dtype}, {name}, channels last": partial(deform_conv, case=case, dtype=dtype, layout=HWC8)
        for dtype in ("float16", "bfloat16")
        for name, case in DEFORMED.items()
    },
}
