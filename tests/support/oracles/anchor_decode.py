"""RetinaFace's decoding of raw heads: softmax, SSD boxes, landmarks, top K per image."""

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
    landmarks: Floats | None  # [n, 10]


def anchor_decode(
    heads: Sequence[tuple[Head | None, ...]],
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[Side]],
    variances: tuple[float, float],
    score_threshold: float,
    top_k: int,
) -> list[Decoded]:
    """Decode every image of a batch. In a cascade, a fourth head has the box deltas of the first stage."""
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
) -> Decoded:
    found = []
    first_anchor = 0
    for level, ((logits, *_), sizes) in enumerate(zip(heads, anchor_sizes, strict=True)):
        assert logits is not None
        num_anchors, (rows, columns) = len(sizes), logits.shape[1:]
        for anchor in range(num_anchors):
            with np.errstate(invalid="ignore", over="ignore"):
                margins = logits[2 * anchor + 1] - logits[2 * anchor]
                probabilities = 1 / (1 + np.exp(-margins))
            # Compare margins, not scores: all pass a threshold of 0, even if the score underflows, and none pass 1.
            for row, column in np.argwhere((margins > logit(score_threshold)) & np.isfinite(margins)):
                index = first_anchor + int(row * columns + column) * num_anchors + anchor
                found.append((-probabilities[row, column], index, (level, anchor, row, column)))
        first_anchor += rows * columns * num_anchors

    best = []
    for negative, index, (level, anchor, row, column) in sorted(found)[:top_k]:
        _, box_deltas, landmark_deltas, *anchor_deltas = heads[level]
        size = np.broadcast_to(np.array(anchor_sizes[level][anchor], dtype=np.float64), 2)
        corners = _corners((np.array([column, row]) + 0.5) * strides[level], size)
        place = (anchor, row, column)
        with np.errstate(over="ignore", invalid="ignore"):
            if anchor_deltas:
                corners = _moved(corners, _values(anchor_deltas[0], 4, place), variances)
            box = _moved(corners, _values(box_deltas, 4, place), variances)
            landmarks = np.zeros(0)
            if landmark_deltas is not None:
                centre, sides = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
                points = _values(landmark_deltas, 10, place).reshape(5, 2)
                landmarks = (centre + points * variances[0] * sides).ravel()
        if _is_finite(box) and _is_finite(landmarks):
            best.append((-negative, index, box, landmarks))
    return Decoded(
        [index for _, index, _, _ in best],
        np.array([box for _, _, box, _ in best]).reshape(-1, 4),
        np.array([score for score, _, _, _ in best]),
        None if heads[0][2] is None else np.array([points for *_, points in best]).reshape(-1, 10),
    )


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
