"""Decoding in standard operators: the raw heads of a network become candidates, as csrc/ops/anchor_decode.h says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.config.detection import InputSize, Thresholds
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.export.nodes import Nodes

NO_FACE = -1.0  # the score of a candidate that is none: below all scores
_TAKEN = -2.0
_MOST_AT_ONCE = 3840  # what TensorRT's TopK returns at most
_FLOAT, _INT32 = 1, 6  # of onnx.TensorProto
_ALL = 1 << 30  # an end of a slice behind all others


@dataclass(frozen=True)
class Candidates:
    """Names of tensors. K is the number of slots of an image; slots without a candidate have the score NO_FACE.

    Attributes:
        boxes: float32 [N, K, 4], x1 y1 x2 y2 in pixels of the network's input.
        scores: float32 [N, K], descending.
        landmarks: float32 [N, K, 2 L]; None if the model has none.
        slots: K.
        classes: int32 [N, K]; None if there is one class.
        values: float32 [N, K, D] of each head of values, by its name; points are in pixels, too.
    """

    boxes: str
    scores: str
    landmarks: str | None
    slots: int
    classes: str | None
    values: dict[str, str]


def append_decoding(nodes: Nodes, config: RetinaFaceConfig, thresholds: Thresholds, size: InputSize) -> Candidates:
    """Append nodes that read the heads named by config.head_names(), float32, and give the best candidates."""
    kinds = config.head_kinds()[1:]
    per_level = [_level(nodes, config, level) for level in config.levels]
    margins, deltas, anchors = (
        nodes("Concat", *parts, axis=axis) for parts, axis in zip(zip(*per_level, strict=True), (1, 1, 0), strict=True)
    )
    several = len(config.classes) > 1
    least, most = (config.num_anchors(*side) * len(config.classes) for side in (size.minimum, size.maximum))
    slots = min(thresholds.top_k, most)
    scores = _scores(nodes, margins, thresholds.score)
    if least < slots:  # small inputs have fewer candidates than slots
        scores = nodes("Pad", scores, [0, 0, 0, slots - least], NO_FACE)
    scores, indices = highest(nodes, scores, slots)
    classes = None
    if several:  # a candidate's index is that of its anchor times the classes, plus its class
        number = nodes("Add", nodes("Mod", indices, len(config.classes)), 1)
        classes, indices = nodes("Cast", number, to=_INT32), nodes("Div", indices, len(config.classes))
    if least < slots:
        last = nodes("Sub", nodes("Shape", deltas, start=1, end=2), 1)
        indices = nodes("Min", indices, last)
    deltas = rows(nodes, deltas, indices)
    of_kind = dict(zip(kinds, nodes.split(deltas, [config.head_values(kind) for kind in kinds], 2), strict=True))
    centre, sides = nodes.split(nodes("Gather", anchors, indices, axis=0), [2, 2], 2)
    if config.cascade:
        centre, sides = _move(nodes, config, (centre, sides), of_kind["anchor_deltas"])
    box_centre, box_sides = _move(nodes, config, (centre, sides), of_kind["box_deltas"])
    upper_left = nodes("Sub", box_centre, nodes("Mul", box_sides, 0.5))
    boxes = nodes("Concat", upper_left, nodes("Add", upper_left, box_sides), axis=2)
    landmarks, values = None, {head.name: of_kind[head.name] for head in config.values}
    if config.has_landmarks:
        landmarks = _points(nodes, config, (centre, sides), of_kind["landmark_deltas"], config.num_points)
    for head in config.values:
        if head.is_points:
            values[head.name] = _points(nodes, config, (centre, sides), values[head.name], head.size // 2)
    parts = [boxes, *([landmarks] if landmarks else []), *values.values()]
    everything = nodes("Concat", *parts, axis=2) if len(parts) > 1 else boxes
    scores = nodes("Where", _all_finite(nodes, everything), scores, NO_FACE)
    return Candidates(boxes, scores, landmarks, slots, classes, values)


def highest(nodes: Nodes, scores: str, count: int) -> tuple[str, str]:
    """Append nodes that give the highest of scores [N, T] in descending order, and their indices; both [N, count]."""
    found, indices = [], []
    while count > 0:
        part = min(count, _MOST_AT_ONCE)
        best, places = nodes.several("TopK", scores, [part], outputs=2, axis=1)
        found.append(best)
        indices.append(places)
        count -= part
        if count > 0:
            taken = nodes("Expand", _TAKEN, nodes("Shape", places))
            scores = nodes("ScatterElements", scores, places, taken, axis=1)
    if len(found) == 1:
        return found[0], indices[0]
    return nodes("Concat", *found, axis=1), nodes("Concat", *indices, axis=1)


def rows(nodes: Nodes, values: str, indices: str) -> str:
    """Append nodes that take rows of values [N, T, V] by indices [N, K]: [N, K, V]."""
    return nodes("GatherND", values, nodes("Unsqueeze", indices, [2]), batch_dims=1)


def _level(nodes: Nodes, config: RetinaFaceConfig, level: PyramidLevel) -> tuple[str, str, str]:
    """Return a level's margins [N, T (C - 1)], its deltas and values [N, T, V] and its anchors [T, 4].

    T counts rows, columns and the anchors of a cell, in the order of the operator's anchor indices. A margin is the
    logit of a score.
    """
    count = len(level.anchors)
    # [N, anchors, values, cells]
    logits, *deltas = (
        nodes("Reshape", f"{kind}_{level.stride}", [0, count, config.head_values(kind), -1])
        for kind in config.head_kinds()
    )
    if config.num_classes == 2 and config.class_coding == "softmax":
        background, face = (nodes("Gather", logits, i, axis=2) for i in range(2))
        margins = nodes("Transpose", nodes("Sub", face, background), perm=[0, 2, 1])
    else:
        margins = logits if config.class_coding == "sigmoid" else _softmax_margins(nodes, logits)
        margins = nodes("Transpose", margins, perm=[0, 3, 1, 2])
    together = nodes("Transpose", nodes("Concat", *deltas, axis=2), perm=[0, 3, 1, 2])
    values = sum(config.head_values(kind) for kind in config.head_kinds()[1:])
    return (
        nodes("Reshape", margins, [0, -1]),
        nodes("Reshape", together, [0, -1, values]),
        _anchors(nodes, f"logits_{level.stride}", level),
    )


def _softmax_margins(nodes: Nodes, logits: str) -> str:
    """Return l_c - log(sum over j != c of exp(l_j)) of the classes behind the background; logits are [N, A, C, cells].

    The sum without the highest logit is added up anew: the difference of two sums would be nothing but rounding.
    """
    best, place = nodes.several("TopK", logits, [1], outputs=2, axis=2)
    lowest = nodes("Expand", -math.inf, nodes("Shape", place))
    others = nodes("ScatterElements", logits, place, lowest, axis=2)
    next_best = nodes("ReduceMax", others, [2], keepdims=1)
    without_best = nodes("ReduceSum", nodes("Exp", nodes("Sub", others, next_best)), [2], keepdims=1)
    of_best = nodes("Sub", nodes("Sub", best, next_best), nodes("Log", without_best))
    shifted = nodes("Sub", logits, best)
    shares = nodes("Exp", shifted)
    without = nodes("Sub", nodes("ReduceSum", shares, [2], keepdims=1), shares)
    # The best one's own sum may be 0 here, whose logarithm is infinite: it is not taken.
    margins = nodes("Where", nodes("Less", others, logits), of_best, nodes("Sub", shifted, nodes("Log", without)))
    return nodes("Slice", margins, [1], [_ALL], [2])


def _anchors(nodes: Nodes, head: str, level: PyramidLevel) -> str:
    """Return centres and sides of a level's anchors, cx cy width height in pixels: [T, 4]."""
    cells = nodes("Shape", head, start=2, end=4)
    count = len(level.anchors)

    def centres(axis: int, shape: list[int]) -> str:
        places = nodes("Range", 0, nodes("Gather", cells, axis), 1)
        middle = nodes("Add", nodes("Cast", places, to=_FLOAT), 0.5)
        spread = nodes("Reshape", nodes("Mul", middle, float(level.stride)), shape)
        return nodes("Expand", spread, nodes("Concat", cells, [count, 1], axis=0))

    sizes = np.array(level.anchors, np.float32)
    sides = nodes("Expand", sizes, nodes("Concat", cells, [count, 2], axis=0))
    table = nodes("Concat", centres(1, [1, -1, 1, 1]), centres(0, [-1, 1, 1, 1]), sides, axis=3)
    return nodes("Reshape", table, [-1, 4])


def _scores(nodes: Nodes, margins: str, threshold: float) -> str:
    """Return the scores of margins [N, T]; NO_FACE where the margin is not above the threshold or not finite."""
    t = float(np.float32(threshold))
    least = math.log(t / (1 - t)) if 0 < t < 1 else math.copysign(math.inf, t - 0.5)
    scores = nodes("Div", 1.0, nodes("Add", nodes("Exp", nodes("Neg", margins)), 1.0))
    above, finite = nodes("Greater", margins, least), nodes("Less", margins, math.inf)
    return nodes("Where", nodes("And", above, finite), scores, NO_FACE)


def _move(nodes: Nodes, config: RetinaFaceConfig, anchor: tuple[str, str], deltas: str) -> tuple[str, str]:
    """Apply box deltas [N, K, 4] to centres and sides, both [N, K, 2]."""
    (centre, sides), (of_centre, of_sides) = anchor, nodes.split(deltas, [2, 2], 2)
    grown = nodes("Exp", nodes("Mul", of_sides, config.variances[1]))
    return _shift(nodes, config, (centre, sides), of_centre), nodes("Mul", sides, grown)


def _shift(nodes: Nodes, config: RetinaFaceConfig, anchor: tuple[str, str], deltas: str) -> str:
    centre, sides = anchor
    return nodes("Add", centre, nodes("Mul", nodes("Mul", deltas, config.variances[0]), sides))


def _points(nodes: Nodes, config: RetinaFaceConfig, anchor: tuple[str, str], deltas: str, count: int) -> str:
    """Apply deltas [N, K, 2 count] of points to centres and sides, both [N, K, 2]."""
    centre, sides = (nodes("Unsqueeze", value, [2]) for value in anchor)
    points = nodes("Reshape", deltas, [0, 0, count, 2])
    return nodes("Reshape", _shift(nodes, config, (centre, sides), points), [0, 0, 2 * count])


def _all_finite(nodes: Nodes, values: str) -> str:
    """Return whether each row of values [N, K, V] is finite: bool [N, K]. NaN is not less than infinity either."""
    finite = nodes("Cast", nodes("Less", nodes("Abs", values), math.inf), to=_FLOAT)
    return nodes("Greater", nodes("ReduceMin", finite, [2], keepdims=0), 0.5)
