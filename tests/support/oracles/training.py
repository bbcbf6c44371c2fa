"""RetinaFace's training: anchors matched with faces, codes, the multi-task loss; in float64, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support.oracles.boxes import iou as box_iou

Floats = NDArray[np.float64]
BACKGROUND, IGNORED = -1, -2


class Image(NamedTuple):
    """The labels of one image."""

    boxes: Floats  # [M, 4]
    landmarks: Floats  # [M, L, 2], NaN where unlabelled
    ignored: NDArray[np.bool_]  # [M]
    classes: NDArray[np.int64]  # [M], from 1
    values: Floats  # [M, D], NaN where unlabelled


class Rules(NamedTuple):
    """The numbers of a stage's targets and of its loss."""

    above: float
    below: float
    least: float = 0.0
    ratio: float = 3.0
    focal: tuple[float, float] | None = None  # alpha, gamma
    sigmoid: bool = False  # each class has a probability of its own


def to_corners(anchors: Floats) -> Floats:
    """Return centre and sides as x1 y1 x2 y2."""
    return np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1)


def match(anchors: Floats, image: Image, rules: Rules) -> list[int]:
    """Return each anchor's face, BACKGROUND or IGNORED."""
    frames = to_corners(anchors)
    proper = [i for i, (x1, y1, x2, y2) in enumerate(image.boxes) if x2 > x1 and y2 > y1]
    faces = [i for i in proper if not image.ignored[i]]
    ious = {i: box_iou(frames, image.boxes[i][None]) for i in proper}
    result = []
    for a in range(len(anchors)):
        best = max(faces, key=lambda i: (ious[i][a], -i), default=None)
        value = 0.0 if best is None else ious[best][a]
        if best is not None and value >= rules.above:
            result.append(best)
        elif value >= rules.below or any(
            _is_over(frames[a], image.boxes[i], ious[i], a, rules) for i in proper if image.ignored[i]
        ):
            result.append(IGNORED)
        else:
            result.append(BACKGROUND)
    taken: dict[int, int] = {}
    while faces:
        wishes: dict[int, list[tuple[float, int]]] = {}
        for i in faces:
            free = [a for a in range(len(anchors)) if a not in taken]
            a = max(free, key=lambda a: (ious[i][a], -a), default=-1)
            if a >= 0 and ious[i][a] > 0 and ious[i][a] >= rules.least:
                wishes.setdefault(a, []).append((-ious[i][a], i))
        faces = []
        for a, rivals in wishes.items():
            taken[a] = min(rivals)[1]
            faces += [i for _, i in sorted(rivals)[1:]]
        faces.sort()
    for a, i in taken.items():
        result[a] = i
    return result


def _is_over(frame: Floats, box: Floats, ious: Floats, anchor: int, rules: Rules) -> bool:
    sides = np.minimum(frame[2:], box[2:]) - np.maximum(frame[:2], box[:2])
    common = sides[0] * sides[1] if (sides > 0).all() else 0.0
    inside = common > 0 and common / np.prod(frame[2:] - frame[:2]) >= 0.5
    best = ious.max() > 0 and ious.max() >= rules.least and int(ious.argmax()) == anchor
    return bool(inside or ious[anchor] >= rules.below or best)


def smooth_l1(difference: Floats) -> float:
    """Return the sum of the smooth L1 distance, beta 1."""
    size = np.abs(difference)
    return float(np.where(size < 1, size**2 / 2, size - 0.5).sum())


def box_code(box: Floats, anchor: Floats, variances: tuple[float, float]) -> Floats:
    """Return the deltas from an anchor to a box."""
    (cx, cy, w, h), (x1, y1, x2, y2) = anchor, box
    return np.array(
        [
            ((x1 + x2) / 2 - cx) / w / variances[0],
            ((y1 + y2) / 2 - cy) / h / variances[0],
            np.log((x2 - x1) / w) / variances[1],
            np.log((y2 - y1) / h) / variances[1],
        ]
    )


def class_losses(logits: Floats, label: int, rules: Rules) -> list[tuple[float, bool]]:
    """Return the cross-entropy of each decision about one anchor, and whether the right answer is "there".

    Softmax decides once, between the background, 0, and the classes; sigmoid decides about each class.
    """
    if rules.sigmoid:
        there = [c == label for c in range(1, len(logits) + 1)]
        return [(float(np.logaddexp(0, -x if yes else x)), yes) for x, yes in zip(logits, there, strict=True)]
    shifted = logits - logits.max()
    return [(float(np.log(np.exp(shifted).sum()) - shifted[label]), label > 0)]


def point_sums(deltas: Floats, points: Floats, anchor: Floats, variances: tuple[float, float]) -> tuple[float, int]:
    """Return the loss of an anchor's deltas [2 L] of points, and 1; 0 and 0 if one of them is unlabelled."""
    if np.isnan(points).any():
        return 0.0, 0
    code = (points.reshape(-1, 2) - anchor[:2]) / anchor[2:] / variances[0]
    return smooth_l1(deltas - code.ravel()) * 5 / len(code), 1


def plain_sums(numbers: Floats, given: Floats, *_: object) -> tuple[float, int]:
    """Return the loss of an anchor's numbers [D], and whether any is labelled."""
    there = ~np.isnan(given)
    return smooth_l1((numbers - given)[there]) / len(given), int(there.any())


def stage_sums(
    heads: tuple[Floats, ...],
    anchors: Floats,
    image: Image,
    rules: Rules,
    variances: tuple[float, float],
    value_points: Sequence[bool] = (),
) -> Floats:
    """Return the sums of one image: classes, boxes, landmarks, positives, those with landmarks, and for each
    head of values its own and the positives with any of them, or where they are points, with all.

    Heads are logits [A, C], or with sigmoid [A, C - 1], box deltas [A, 4] and landmark deltas [A, 2 L]; and heads of
    values [A, D], of which `value_points` says whether they are points.
    """
    logits, deltas, points, *plain = heads
    matches = match(anchors, image, rules)
    sums = np.zeros(5 + 2 * len(plain))
    negatives = []
    for a, face in enumerate(matches):
        losses = class_losses(logits[a], 0 if face < 0 else int(image.classes[face]), rules)
        if face == BACKGROUND:
            negatives.append(sum(loss for loss, _ in losses))
        if rules.focal and face != IGNORED:
            alpha, gamma = rules.focal
            for loss, there in losses:
                sums[0] += (alpha if there else 1 - alpha) * (1 - np.exp(-loss)) ** gamma * loss
        if face < 0:
            continue
        if not rules.focal:
            sums[0] += sum(loss for loss, _ in losses)
        sums[1] += smooth_l1(deltas[a] - box_code(image.boxes[face], anchors[a], variances))
        sums[3] += 1
        if not np.isnan(image.landmarks[face]).any():
            sums[[2, 4]] += point_sums(points[a], image.landmarks[face], anchors[a], variances)
        begin = 0
        for i, head in enumerate(plain):
            given = image.values[face][begin : begin + head.shape[1]]
            begin += head.shape[1]
            of_anchor = point_sums if value_points[i] else plain_sums
            sums[5 + 2 * i : 7 + 2 * i] += of_anchor(head[a], given, anchors[a], variances)
    if not rules.focal:
        sums[0] += sum(sorted(negatives, reverse=True)[: int(max(sums[3], 1) * rules.ratio)])
    return sums


def rows_of(maps: Sequence[NDArray[Any]], values: int) -> list[Floats]:
    """Return the maps of each level, [N, K * values, h, w], as a list of [A, values], one for each image."""
    images = []
    for n in range(len(maps[0])):
        rows = [
            level[n, values * k : values * (k + 1), y, x]
            for level in maps
            for y in range(level.shape[2])
            for x in range(level.shape[3])
            for k in range(level.shape[1] // values)
        ]
        images.append(np.array(rows, np.float64))
    return images
