"""Counts hits and detections at one setting of the thresholds: filter by score, NMS, match with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tests.support.oracles.batched_nms import nms
from tests.support.oracles.boxes import iou


class Setting(NamedTuple):
    """Thresholds and limits for the candidates of an image."""

    iou: float
    score: float
    top_k: int
    keep_top_k: int
    match_iou: float


class Counts(NamedTuple):
    """Counts over all images."""

    hits: int
    detections: int


def count(
    boxes: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]], s: Setting
) -> Counts:
    """Count detections and hits; each labelled face can be hit only once."""
    hits = detections = 0
    for image_boxes, image_scores, faces in zip(boxes, scores, labels, strict=True):
        above = image_scores > s.score
        candidates, values = image_boxes[above][: s.top_k], image_scores[above][: s.top_k]
        kept = nms(candidates, values, len(values), s.iou, s.keep_top_k)
        free = list(range(len(faces)))
        for box in kept.boxes:
            overlaps = {face: float(iou(box, faces[face])) for face in free}
            nearest = max(overlaps, key=lambda face: overlaps[face], default=None)
            if nearest is not None and overlaps[nearest] >= s.match_iou:
                free.remove(nearest)
                hits += 1
        detections += len(kept.boxes)
    return Counts(hits, detections)
