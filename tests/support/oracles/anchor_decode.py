"""Decoding of raw heads: softmax or sigmoid, SSD boxes, points, values, top K per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Head = NDArray[Any]
Side = float | tuple[float, float]  # side of a square anchor, or (width, height)


class Decoded(NamedTuple):
    """The candidates of one image, highest score first."""

    anchors: list[int]
    boxes: Floats  # [n, 4]
    scores: Floats  # [n]
    payload: Floats | None  # [n, P]: points, then values
    classes: list[int]


def anchor_decode(
    heads: Sequence[tuple[Head | None, ...]],
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[Side]],
    variances: tuple[float, float],
    score_threshold: float,
    top_k: int,
    classes: int = 2,
    sigmoid: bool = False,
    value_points: Sequence[bool] = (),
) -> list[Decoded]:
    """Decode every image of a batch.

    In a cascade, a fourth head has the box deltas of the first stage. Heads of values are behind that: points where
    `value_points` says so, which none are if it is empty.
    """
    logits = heads[0][0]
    assert logits is not None
    batch = logits.shape[0]
    return [
        _decode_image(
            [tuple(None if head is None else head[image].astype(np.float64) for head in level) for level in heads],
            strides,
            anchor_sizes,
            variances,
            score_threshold,
            top_k,
            classes,
            sigmoid,
            value_points,
        )
        for image in range(batch)
    ]


def _decode_image(
    heads: Sequence[tuple[Floats | None, ...]],
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[Side]],
    variances: tuple[float, float],
    score_threshold: float,
    top_k: int,
    classes: int,
    sigmoid: bool,
    value_points: Sequence[bool],
) -> Decoded:
    found = []
    first_anchor = 0
    for level, ((logits, *_), sizes) in enumerate(zip(heads, anchor_sizes, strict=True)):
        assert logits is not None
        num_anchors, (rows, columns) = len(sizes), logits.shape[1:]
        for anchor in range(num_anchors):
            for c in range(1, classes):
                with np.errstate(invalid="ignore", over="ignore"):
                    margins = _margins(logits, anchor, c, classes, sigmoid)
                    probabilities = 1 / (1 + np.exp(-margins))
                # Compare margins, not scores: all pass a threshold of 0, even if the score underflows, and none pass 1.
                for row, column in np.argwhere((margins > logit(score_threshold)) & np.isfinite(margins)):
                    index = first_anchor + int(row * columns + column) * num_anchors + anchor
                    found.append((-probabilities[row, column], index, c, (level, anchor, row, column)))
        first_anchor += rows * columns * num_anchors

    best = []
    for negative, index, c, (level, anchor, row, column) in sorted(found)[:top_k]:
        _, box_deltas, landmark_deltas, *others = heads[level]
        anchor_deltas, *values = others or [None]
        num_anchors = len(anchor_sizes[level])
        size = np.broadcast_to(np.array(anchor_sizes[level][anchor], dtype=np.float64), 2)
        corners = _corners((np.array([column, row]) + 0.5) * strides[level], size)
        place = (anchor, row, column)
        with np.errstate(over="ignore", invalid="ignore"):
            if anchor_deltas is not None:
                corners = _moved(corners, _values(anchor_deltas, 4, place), variances)
            box = _moved(corners, _values(box_deltas, 4, place), variances)
            centre, sides = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
            payload = []
            are_points = (True, *(value_points or [False] * len(values)))
            for head, is_points in zip((landmark_deltas, *values), are_points, strict=True):
                if head is not None:
                    own = _values(head, len(head) // num_anchors, place)
                    moved = (centre + own.reshape(-1, 2) * variances[0] * sides).ravel() if is_points else own
                    payload.append(moved)
            carried = np.concatenate([*payload, np.zeros(0)])
        if _is_finite(box) and _is_finite(carried):
            best.append((-negative, index, c, box, carried))
    carries = heads[0][2] is not None or len(heads[0]) > 4
    width = sum(len(head) for head in (heads[0][2], *heads[0][4:]) if head is not None) // len(anchor_sizes[0])
    return Decoded(
        [index for _, index, *_ in best],
        np.array([box for *_, box, _ in best]).reshape(-1, 4),
        np.array([score for score, *_ in best]),
        np.array([carried for *_, carried in best]).reshape(-1, width) if carries else None,
        [c for _, _, c, _, _ in best],
    )


def _margins(logits: Floats, anchor: int, c: int, classes: int, sigmoid: bool) -> Floats:
    """Return log(p / (1 - p)) of a class of an anchor for every cell."""
    if sigmoid:
        return np.asarray(logits[(classes - 1) * anchor + c - 1])
    own = logits[classes * anchor : classes * (anchor + 1)]
    # In order of size, so that equal logits have equal margins.
    others = np.sort(np.delete(own, c, axis=0), axis=0)
    highest = others.max(axis=0)
    return np.asarray(own[c] - highest - np.log(np.exp(others - highest).sum(axis=0)))


def logit(score: float) -> float:
    """Return the margin whose sigmoid is `score`; infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(np.float64(score)) - np.log(1 - np.float64(score)))


def _is_finite(values: Floats) -> bool:
    """Return whether all values are finite in float32, the type of the results."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32)).all())


def _values(head: Floats | None, count: int, place: tuple[int, int, int]) -> Floats:
    """Return a head's `count` values for one anchor; place is (anchor of the cell, row, column)."""
    assert head is not None
    anchor, row, column = place
    return head[count * anchor : count * (anchor + 1), row, column]


def _corners(centre: Floats, sides: Floats) -> Floats:
    return np.concatenate([centre - sides / 2, centre + sides / 2])


def _moved(corners: Floats, deltas: Floats, variances: tuple[float, float]) -> Floats:
    """Return an anchor (x1, y1, x2, y2) moved by deltas, as x1, y1, x2, y2: in a cascade it is the next anchor."""
    centre, sides = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    return _corners(centre + deltas[:2] * variances[0] * sides, sides * np.exp(deltas[2:] * variances[1]))
