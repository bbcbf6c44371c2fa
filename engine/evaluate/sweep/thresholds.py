"""Precision, recall and F1 at many thresholds, from candidates that were found once.

Suppression is greedy by score: whether a candidate is kept, and which face it matches, depends only on candidates with
higher scores. One suppression and one matching therefore serve all score thresholds and all limits on the number of
faces, which only truncate the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine.config.detection import MAX_CANDIDATES, Thresholds
from engine.errors import EvaluationError, InvalidArgumentError
from engine.evaluate.sweep.candidates import Candidates
from engine.metrics.matching import MATCH_IOU, box_iou, take_greedily
from engine.types import FloatArray

Labels = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Suppression:
    """Settings of the suppression.

    Attributes:
        iou: a face suppresses others of lower scores if their IoU is above it.
        top_k: number of candidates per image that go into suppression, best first.
        keep_top_k: number of faces per image that come out, best first.
    """

    iou: float
    top_k: int
    keep_top_k: int

    def label(self) -> str:
        """Name the settings in a plot."""
        return f"IoU {self.iou:g}, top_k {self.top_k}, keep_top_k {self.keep_top_k}"


@dataclass(frozen=True)
class Row:
    """The result of one combination of settings over all images.

    Attributes:
        suppression: its settings.
        score_threshold: faces need a score above it.
        precision: hits / detections; 1 without detections.
        recall: hits / labelled faces.
        f1: harmonic mean of precision and recall.
        hits: number of labelled faces that a detection matches.
        detections: number of detections.
    """

    suppression: Suppression
    score_threshold: float
    precision: float
    recall: float
    f1: float
    hits: int
    detections: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        return {**values.pop("suppression"), **values}


@dataclass(frozen=True)
class Grid:
    """The settings to combine.

    Attributes:
        iou: IoU thresholds of the suppression.
        score: score thresholds.
        top_k: see Suppression.
        keep_top_k: see Suppression.
        match_iou: a detection matches a labelled face if their IoU is at least this.
    """

    iou: Sequence[float] = (0.3, 0.4, 0.5, 0.6)
    score: Sequence[float] = tuple(round(0.02 * i, 2) for i in range(1, 50))
    top_k: Sequence[int] = (Thresholds().top_k,)
    keep_top_k: Sequence[int] = (Thresholds().max_detections,)
    match_iou: float = MATCH_IOU

    def __post_init__(self) -> None:
        """Refuse empty lists and values out of range."""
        for name in ("iou", "score", "top_k", "keep_top_k"):
            values = getattr(self, name)
            low, high = (0, 1) if name in ("iou", "score") else (1, MAX_CANDIDATES)
            if not len(values) or not all(low <= value <= high for value in values):
                raise InvalidArgumentError(f"{name} is {list(values)}, expected values from {low} to {high}")
        if not 0 < self.match_iou <= 1:
            raise InvalidArgumentError(f"match_iou is {self.match_iou}, expected a value above 0, up to 1")


def sweep(candidates: Candidates, labels: Labels, grid: Grid) -> list[Row]:
    """Return a row for each combination of a grid.

    Args:
        candidates: of all labelled images, perhaps of more.
        labels: boxes of the faces by image.
        grid: settings; score thresholds are not below the candidates'.

    Raises:
        EvaluationError: a labelled image has no candidates stored, or there is no labelled face.
        InvalidArgumentError: a score threshold is below the candidates'.
    """
    missing = [name for name in labels if name not in candidates.boxes]
    if missing:
        raise EvaluationError(f"{len(missing)} labelled images have no stored candidates, the first is {missing[0]}")
    faces = sum(map(len, labels.values()))
    if not faces:
        raise EvaluationError("the labels have no faces: recall is undefined")
    if min(grid.score) < candidates.score_threshold:
        raise InvalidArgumentError(
            f"score thresholds start at {min(grid.score)}, but candidates are stored only above "
            f"{candidates.score_threshold}; build an engine with a lower --score-threshold"
        )
    return [row for iou, top_k in product(grid.iou, grid.top_k) for row in _rows(candidates, labels, grid, iou, top_k)]


def best(rows: Sequence[Row]) -> Row:
    """Return the first row with the highest F1."""
    return max(rows, key=lambda row: row.f1)


def _rows(candidates: Candidates, labels: Labels, grid: Grid, iou: float, top_k: int) -> Iterator[Row]:
    scores, hits, ranks = [], [], []
    for name, faces in labels.items():
        boxes, kept = _suppress(candidates.boxes[name][:top_k], candidates.scores[name][:top_k], iou)
        scores.append(kept)
        hits.append(take_greedily(box_iou(boxes, faces), grid.match_iou) >= 0)
        ranks.append(np.arange(len(kept)))
    all_scores, all_hits, all_ranks = np.concatenate(scores), np.concatenate(hits), np.concatenate(ranks)
    total = sum(map(len, labels.values()))
    for keep_top_k in grid.keep_top_k:
        taken = all_ranks < keep_top_k
        order = np.argsort(-all_scores[taken], kind="stable")
        falling = all_scores[taken][order]
        found = np.concatenate([[0], all_hits[taken][order].cumsum()])
        for threshold in grid.score:
            count = int(np.searchsorted(-falling, -np.float32(threshold)))
            yield _row(Suppression(iou, top_k, keep_top_k), threshold, int(found[count]), count, total)


def _row(suppression: Suppression, threshold: float, hits: int, detections: int, faces: int) -> Row:
    precision = hits / detections if detections else 1.0
    f1 = 2 * hits / (detections + faces)
    return Row(suppression, threshold, precision, hits / faces, f1, hits, detections)


def _suppress(boxes: FloatArray, scores: FloatArray, iou: float) -> tuple[FloatArray, FloatArray]:
    if not len(scores):
        return boxes, scores
    count = np.array([len(scores)], np.int32)
    kept = ops.nms(boxes[None], scores[None], None, count, iou_threshold=iou, max_detections=len(scores))
    number = int(kept.num_detections[0])
    return kept.boxes[0, :number], kept.scores[0, :number]
