"""Decoding and suppression of heads of any kind, for operations.py."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engine import ops
from tests.csrc.ops.test_heads import LEVELS, Case, random_candidates, random_heads
from tests.csrc.plugins.driver import Library

from .launchers import (
    DTYPES,
    NUMPY,
    AnchorDecodeInputs,
    AnchorDecodeOutputs,
    AnchorDecodeParams,
    AnchorLevel,
    BatchedNmsInputs,
    BatchedNmsOutputs,
    BatchedNmsParams,
    Operation,
    Workspace,
)

SLOTS = 40


def _optional(dtype: Any, shape: tuple[int, ...], given: bool) -> list[Any]:
    return [(dtype, shape)] if given else []


def decode_heads(library: Library, rng: np.random.Generator, case: Case, dtype: str = "float32") -> Operation:
    """Return a decoding of random heads."""
    heads = random_heads(rng, case)
    return decoding(library, heads, LEVELS, case.options(), dtype, (case.batch, case.points, case.values, case.cascade))


def decoding(
    library: Library,
    given_heads: Sequence[Sequence[Any]],
    levels: Sequence[Any],
    options: Any,
    dtype: str,
    has: tuple[int, int, tuple[int, ...], bool],
) -> Operation:
    """Return a decoding of heads.

    Args:
        library: to call.
        given_heads: of each level, as ops.decode takes them; float32.
        levels: height, width, stride, sizes of anchors.
        options: keyword arguments of ops.decode.
        dtype: of the heads in memory.
        has: images, points, sizes of the heads of values, and whether there is a first stage.
    """
    batch, points, value_sizes, cascade = has
    classes, top_k, payload_size = options.get("classes", 2), options["top_k"], 2 * points + sum(value_sizes)
    heads: Any = [[None if head is None else head.astype(NUMPY[dtype]) for head in level] for level in given_heads]
    params = AnchorDecodeParams(
        batch=batch,
        num_levels=len(levels),
        centre_variance=options["variances"][0],
        size_variance=options["variances"][1],
        score_threshold=options["score_threshold"],
        top_k=top_k,
        num_classes=classes,
        sigmoid=options.get("sigmoid", False),
        num_points=points,
        num_value_heads=len(value_sizes),
        cascade=cascade,
        dtype=DTYPES[dtype],
    )
    params.value_sizes[: len(value_sizes)] = value_sizes
    value_points = options.get("value_points", ())
    params.value_points[: len(value_points)] = value_points
    for level, (height, width, stride, sizes) in zip(params.levels, levels, strict=False):
        level.height, level.width, level.stride, level.num_anchors = height, width, stride, len(sizes)
        sides = [size if isinstance(size, tuple) else (size, size) for size in sizes]
        level.anchor_sizes = type(AnchorLevel().anchor_sizes)(*sides)
    slots = (batch, top_k)
    outputs = [
        *[(np.float32, (*slots, 4)), (np.float32, slots)],
        *_optional(np.float32, (*slots, payload_size), payload_size > 0),
        (np.int32, (batch,)),
        *_optional(np.int32, slots, classes > 2),
    ]

    def launch(given: Sequence[int], results: Sequence[int], workspace: Workspace, stream: int) -> int:
        inputs, addresses = AnchorDecodeInputs(), iter(given)
        for i, level in enumerate(heads):
            at = [None if head is None else next(addresses) for head in level]
            inputs.logits[i], inputs.box_deltas[i], inputs.landmark_deltas[i] = at[:3]
            inputs.anchor_deltas[i] = at[3] if len(at) > 3 else None
            for head, address in enumerate(at[4:]):
                inputs.values[head][i] = address
        boxes, scores, *rest = results
        payload = rest.pop(0) if payload_size else None
        filled = AnchorDecodeOutputs(boxes, scores, payload, *rest)
        structures = [ctypes.byref(s) for s in (params, inputs, filled)]
        return int(library.call("decode", *structures, workspace.address, workspace.size, stream))

    wide: Any = [tuple(None if head is None else head.astype(np.float32) for head in level) for level in heads]
    return Operation(
        [head for level in heads for head in level if head is not None],
        outputs,
        library.call("decode_workspace", ctypes.byref(params)),
        launch,
        [array for array in ops.decode(wide, **options) if array is not None],
    )


def nms_heads(
    library: Library, rng: np.random.Generator, classes: int, payload: int, agnostic: bool = False
) -> Operation:
    """Return a suppression of random candidates of three images, one without any, with voting."""
    counts = (300, 0, 171)
    candidates = random_candidates(rng, classes, payload, counts)
    has_classes, batch = classes > 2, len(counts)
    params = BatchedNmsParams(
        batch=batch,
        num_candidates=max(counts),
        max_detections=SLOTS,
        iou_threshold=0.4,
        voting=True,
        payload_size=payload,
        has_classes=has_classes,
        class_agnostic=agnostic,
    )
    outputs = [
        *[(np.int32, (batch,)), (np.float32, (batch, SLOTS, 4)), (np.float32, (batch, SLOTS))],
        *_optional(np.float32, (batch, SLOTS, payload), payload > 0),
        (np.int32, (batch, SLOTS)),
        *_optional(np.int32, (batch, SLOTS), has_classes),
    ]

    def launch(given: Sequence[int], results: Sequence[int], workspace: Workspace, stream: int) -> int:
        addresses = iter(given)
        inputs = BatchedNmsInputs(*[None if array is None else next(addresses) for array in candidates])
        num, boxes, scores, *rest = results
        carried = rest.pop(0) if payload else None
        filled = BatchedNmsOutputs(num, boxes, scores, carried, *rest)
        structures = [ctypes.byref(s) for s in (params, inputs, filled)]
        return int(library.call("nms", *structures, workspace.address, workspace.size, stream))

    options: Any = {"iou_threshold": 0.4, "max_detections": SLOTS, "voting": True, "class_agnostic": agnostic}
    return Operation(
        [array for array in candidates if array is not None],
        outputs,
        library.call("nms_workspace", ctypes.byref(params)),
        launch,
        [array for array in ops.nms(*candidates, **options) if array is not None],
    )


_MANY = Case(classes=3, points=98, values=(7,), top_k=33)
DECODED_HEADS = {
    "classes": (_MANY, "float32"),
    "points": (replace(_MANY, values=(7, 22), value_points=(False, True)), "float32"),
    "sigmoid": (replace(_MANY, sigmoid=True, points=4, values=(), cascade=True), "bfloat16"),
    "flood": (Case(classes=4, points=0, values=(3,), threshold=0.02, few=1.0, top_k=200), "float16"),
}
SUPPRESSED_HEADS = {"classes": (4, 0, False), "payload": (2, 203, False), "across classes": (4, 3, True)}
