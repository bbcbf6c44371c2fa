"""Precision and recall at one setting: cut, suppress, cut again, match, count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tests.support.oracles.batched_nms import nms
from tests.support.oracles.boxes import iou


class Setting(NamedTuple):
    """What to do with the candidates."""

    iou: float
    score: float
    top_k: int
    keep_top_k: int
    match_iou: float


class Counts(NamedTuple):
    """Over all images."""

    hits: int
    detections: int


def count(
    boxes: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]], labels: Sequence[NDArray[Any]], s: Setting
) -> Counts:
    """Count detections, and those that meet a face, image by image and box by box."""
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
