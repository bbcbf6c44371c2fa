"""Suppression in standard operators: candidates become faces, as csrc/ops/batched_nms.h says."""

from __future__ import annotations

import numpy as np

from engine.config.detection import Thresholds
from engine.errors import InvalidArgumentError
from engine.export.decoding import NO_FACE, Candidates, highest, rows
from engine.export.nodes import Nodes

# How overlapping candidates are suppressed: by NonMaxSuppression; or by a Loop, which takes the best candidate in each
# step and drops those that overlap it. TensorRT-RTX has no NonMaxSuppression.
SUPPRESSIONS = ("nms", "loop")
_FOUND = NO_FACE / 2  # scores of faces are above it
_INT32, _BOOL, _FLOAT, _INT64 = 6, 9, 1, 7  # of onnx.TensorProto


def check_suppression(method: str, thresholds: Thresholds) -> None:
    """Raise InvalidArgumentError for an unknown method, and for box voting."""
    if method not in SUPPRESSIONS:
        raise InvalidArgumentError(f"suppression is {method!r}, expected one of: {', '.join(SUPPRESSIONS)}")
    if thresholds.voting:
        raise InvalidArgumentError(
            "voting is on, but standard operators have none that averages the boxes that a face suppressed: leave "
            "--voting out, or build an engine"
        )


def append_suppression(nodes: Nodes, candidates: Candidates, thresholds: Thresholds, method: str, classes: int) -> None:
    """Append nodes that give the outputs of an engine: see engine.export.attach.attach_detection.

    Args:
        nodes: to append to.
        candidates: the input.
        thresholds: of suppression.
        method: one of SUPPRESSIONS.
        classes: number of those whose faces do not suppress faces of another one; 1 if all do.
    """
    suppress = _by_nms if method == "nms" else _by_loop
    kept = suppress(nodes, candidates, thresholds, classes)
    slots = min(thresholds.max_detections, candidates.slots)
    scores, indices = highest(nodes, kept, slots)
    found = nodes("Greater", scores, _FOUND)
    nodes("ReduceSum", nodes("Cast", found, to=_INT32), [1], keepdims=0, output="num_detections")
    each = nodes("Unsqueeze", found, [2])
    outputs = {"boxes": rows(nodes, candidates.boxes, indices), "scores": scores}
    if candidates.landmarks is not None:
        outputs["landmarks"] = rows(nodes, candidates.landmarks, indices)
    empty = thresholds.max_detections - slots
    outputs.update({name: rows(nodes, values, indices) for name, values in candidates.values.items()})
    if candidates.classes is not None:
        outputs["classes"] = nodes("GatherElements", candidates.classes, indices, axis=1)
    for name, values in outputs.items():
        flat = name in ("scores", "classes")
        padding = [0, 0, 0, empty] if flat else [0, 0, 0, 0, empty, 0]
        nothing = np.zeros((), np.int32) if name == "classes" else 0.0
        clean = nodes("Where", found if flat else each, values, nothing, output=None if empty else name)
        if empty:
            nodes("Pad", clean, padding, nothing, output=name)


def _by_nms(nodes: Nodes, candidates: Candidates, thresholds: Thresholds, classes: int) -> str:
    """Return the scores of the kept candidates in their slots [N, K]; NO_FACE for the others."""
    scores = candidates.scores
    by_class = nodes("Unsqueeze", scores, [1])
    if classes > 1:  # of each class, the scores of its candidates; the operator takes one class after the other
        numbers = np.arange(1, classes + 1, dtype=np.int32)[:, None]
        own = nodes("Equal", nodes("Unsqueeze", str(candidates.classes), [1]), numbers)
        by_class = nodes("Where", own, by_class, NO_FACE)
    selected = nodes(
        "NonMaxSuppression",
        candidates.boxes,
        by_class,
        [thresholds.max_detections],
        [thresholds.iou],
        [_FOUND],
    )
    # Rows of image, class and slot, in an order that the standard does not define.
    places = nodes("Gather", selected, [0, 2], axis=1)
    nothing = nodes("Expand", NO_FACE, nodes("Shape", scores))
    return nodes("ScatterND", nothing, places, nodes("GatherND", scores, places))


def _by_loop(nodes: Nodes, candidates: Candidates, thresholds: Thresholds, classes: int) -> str:
    """As _by_nms. Each step keeps the best candidate of every image, until there is none left or all slots are full."""
    from onnx import helper

    scores = candidates.scores
    boxes = [nodes("Squeeze", side, [2]) for side in nodes.split(candidates.boxes, [1, 1, 1, 1], 2)]
    area = _area(nodes, boxes)
    slots = np.arange(candidates.slots, dtype=np.int64)[None]
    body = helper.make_graph([], "keep_the_best", [], [])
    step = Nodes(body, "step", nodes)
    best = step("ArgMax", "alive", axis=1, keepdims=1)
    x1, y1, x2, y2, best_area = (step("GatherElements", side, best, axis=1) for side in (*boxes, area))
    overlap = _area(
        step,
        [
            *(step("Max", side, own) for side, own in zip(boxes[:2], (x1, y1), strict=True)),
            *(step("Min", side, own) for side, own in zip(boxes[2:], (x2, y2), strict=True)),
        ],
    )
    union = step("Sub", step("Add", area, best_area), overlap)
    # 0 / 0, for boxes without area, is NaN, which is not greater.
    suppressed = step("Greater", step("Div", overlap, union), thresholds.iou)
    if classes > 1:
        of_best = step("GatherElements", str(candidates.classes), best, axis=1)
        suppressed = step("And", suppressed, step("Equal", str(candidates.classes), of_best))
    itself = step("Equal", slots, best)
    step("Where", step("Or", suppressed, itself), NO_FACE, "alive", output="still_alive")
    step("Or", "kept", itself, output="now_kept")
    step("Greater", step("ReduceMax", "still_alive", keepdims=0), _FOUND, output="again")
    shape = ("batch", candidates.slots)
    for values, names in (
        (body.input, {"turn": _INT64, "before": _BOOL, "alive": _FLOAT, "kept": _BOOL}),
        (body.output, {"again": _BOOL, "still_alive": _FLOAT, "now_kept": _BOOL}),
    ):
        for name, kind in names.items():
            scalar = name in ("turn", "before", "again")
            values.append(helper.make_tensor_value_info(name, kind, () if scalar else shape))
    none = nodes("Less", scores, NO_FACE)
    _, kept = nodes.several("Loop", thresholds.max_detections, "", scores, none, outputs=2, body=body)
    return nodes("Where", kept, scores, NO_FACE)


def _area(nodes: Nodes, box: list[str]) -> str:
    x1, y1, x2, y2 = box
    width, height = (nodes("Relu", nodes("Sub", *ends)) for ends in ((x2, x1), (y2, y1)))
    return nodes("Mul", width, height)
