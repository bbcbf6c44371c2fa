"""Average precision of detections against labelled faces, also by the size of the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.matching import MATCH_IOU, box_iou, box_size, take_greedily

Boxes = NDArray[np.floating]

SIZE_BINS = ((8.0, 16.0), (16.0, 32.0), (32.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 400.0))
"""Ranges of face sizes (square root of the box's area) in pixels; the last includes its end."""


@dataclass(frozen=True)
class SizeRange:
    """Average precision of the faces of one range of sizes.

    Attributes:
        low: smallest size in pixels, inclusive.
        high: largest size, exclusive except in the last range.
        faces: number of labelled faces in the range.
        average_precision: None without labelled faces in the range.
    """

    low: float
    high: float
    faces: int
    average_precision: float | None


def average_precision(
    truth: Sequence[Boxes],
    detections: Sequence[Detections],
    *,
    match_iou: float = MATCH_IOU,
    sizes: tuple[float, float] | None = None,
    ignored: Sequence[NDArray[np.bool_]] | None = None,
) -> float | None:
    """Return the area under precision over recall, with precision made non-increasing (PASCAL VOC from 2010 on).

    In the order of decreasing score over all images, a detection is a hit if it matches a labelled face of its image
    that is not taken: the one with the largest IoU of at least match_iou. Otherwise it is a false positive. Equal
    scores keep the order of the images.

    Args:
        truth: labelled faces of each image, [N, 4].
        detections: of the same images, down to low scores.
        match_iou: smallest IoU of a match.
        sizes: evaluate only faces of sizes in [first, second). Detections that match other faces, and false positives
            of other sizes, are ignored.
        ignored: faces of each image, bool [N], that are not evaluated: detections that match them are ignored.

    Returns:
        0 to 1; None if no labelled face is evaluated.

    Raises:
        InvalidArgumentError: the lists differ in length, or hold numbers that are not finite.
    """
    return rank(truth, detections, match_iou=match_iou, sizes=sizes, ignored=ignored).area()


@dataclass(frozen=True)
class Ranked:
    """All judged detections of a set of images, best first.

    Attributes:
        hits: bool [N], whether a detection finds a labelled face.
        image: int [N], index of its image.
        wanted: int [images], number of labelled faces that are evaluated.
    """

    hits: NDArray[np.bool_]
    image: NDArray[np.intp]
    wanted: NDArray[np.intp]

    def area(self, times: NDArray[np.int64] | None = None) -> float | None:
        """Return the average precision where each image is there so many times (None: once), int [images].

        None if no labelled face is there.
        """
        weights = np.ones(len(self.wanted), np.int64) if times is None else times
        total = int(weights @ self.wanted)
        if not total:
            return None
        seen = weights[self.image]
        found = np.cumsum(seen * self.hits)[self.hits]
        precision = found / np.maximum(np.cumsum(seen)[self.hits], 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float((envelope * seen[self.hits]).sum() / total)


def rank(
    truth: Sequence[Boxes],
    detections: Sequence[Detections],
    *,
    match_iou: float = MATCH_IOU,
    sizes: tuple[float, float] | None = None,
    ignored: Sequence[NDArray[np.bool_]] | None = None,
) -> Ranked:
    """Judge detections and rank them by score; see average_precision."""
    _check(truth, detections)
    scores: list[NDArray[np.floating]] = [np.zeros(0)]
    found = [np.zeros(0, np.bool_)]
    wanted = np.zeros(len(truth), np.intp)
    left_out = ignored or [np.zeros(len(boxes), np.bool_) for boxes in truth]
    for index, (boxes, faces, left) in enumerate(zip(truth, detections, left_out, strict=True)):
        counts = _within(boxes, sizes) & ~left
        wanted[index] = counts.sum()
        order = np.argsort(-faces.scores, kind="stable")
        taken = take_greedily(box_iou(faces.boxes[order], boxes), match_iou, preferred=counts)
        hits = np.append(counts, False)[taken]  # index -1 is "no face"
        judged = hits | ((taken < 0) & _within(faces.boxes[order], sizes))
        scores.append(faces.scores[order][judged])
        found.append(hits[judged])
    ranked = np.argsort(-np.concatenate(scores), kind="stable")
    image = np.repeat(np.arange(-1, len(truth)), [len(part) for part in found])
    return Ranked(np.concatenate(found)[ranked], image[ranked], wanted)


def size_bands() -> list[tuple[float, float]]:
    """Return the ranges of SIZE_BINS, each with an end that is exclusive."""
    last = SIZE_BINS[-1]
    return [*SIZE_BINS[:-1], (last[0], float(np.nextafter(last[1], np.inf)))]


def average_precision_by_size(
    truth: Sequence[Boxes],
    detections: Sequence[Detections],
    *,
    match_iou: float = MATCH_IOU,
    ignored: Sequence[NDArray[np.bool_]] | None = None,
) -> tuple[SizeRange, ...]:
    """Return the average precision for each of SIZE_BINS; see average_precision."""
    ranges = []
    for (low, high), (_, end) in zip(SIZE_BINS, size_bands(), strict=True):
        counted = truth if ignored is None else [boxes[~left] for boxes, left in zip(truth, ignored, strict=True)]
        faces = sum(int(_within(boxes, (low, end)).sum()) for boxes in counted)
        value = average_precision(truth, detections, match_iou=match_iou, sizes=(low, end), ignored=ignored)
        ranges.append(SizeRange(low, high, faces, value))
    return tuple(ranges)


def _within(boxes: Boxes, sizes: tuple[float, float] | None) -> NDArray[np.bool_]:
    size = box_size(boxes)
    return np.ones(len(size), np.bool_) if sizes is None else (size >= sizes[0]) & (size < sizes[1])


def _check(truth: Sequence[Boxes], detections: Sequence[Detections]) -> None:
    if len(truth) != len(detections):
        raise InvalidArgumentError(
            f"there are labels of {len(truth)} images and detections of {len(detections)}, expected the same images"
        )
    for name, boxes in (("labels", truth), ("detections", [faces.boxes for faces in detections])):
        for index, image in enumerate(boxes):
            if not np.isfinite(image).all():
                raise InvalidArgumentError(f"{name}[{index}] holds a box that is not finite")
