"""Precision, recall and F1 at many thresholds, from candidates that were found once.

Suppression is greedy by score: which candidates are kept, and which face each one meets, depends on better ones only.
So one suppression and one matching serve all score thresholds and all limits on the number of faces: these only cut the
list off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine.config.detection import MAX_CANDIDATES
from engine.errors import EvaluationError, InvalidArgumentError
from engine.evaluate.sweep.candidates import Candidates
from engine.metrics.matching import MATCH_IOU, box_iou, take_greedily
from engine.types import FloatArray

Labels = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Suppression:
    """One way to suppress.

    Attributes:
        iou: a better face suppresses those that overlap it by more.
        top_k: candidates of an image that go in, the best ones.
        keep_top_k: faces of an image that come out, the best ones.
    """

    iou: float
    top_k: int
    keep_top_k: int

    def label(self) -> str:
        """Name it in a plot."""
        return f"IoU {self.iou:g}, top_k {self.top_k}, keep_top_k {self.keep_top_k}"


@dataclass(frozen=True)
class Row:
    """What one setting gives over all images.

    Attributes:
        suppression: how.
        score_threshold: faces need a score above it.
        precision: hits / detections; 1 where nothing is detected.
        recall: hits / labelled faces.
        f1: their harmonic mean.
        hits: labelled faces that a detection meets.
        detections: all.
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
        iou: thresholds of the suppression.
        score: thresholds of the score.
        top_k: see Suppression.
        keep_top_k: see Suppression.
        match_iou: a detection meets a labelled face that it overlaps by at least this.
    """

    iou: Sequence[float] = (0.3, 0.4, 0.5, 0.6)
    score: Sequence[float] = tuple(round(0.02 * i, 2) for i in range(1, 50))
    top_k: Sequence[int] = (5000,)
    keep_top_k: Sequence[int] = (750,)
    match_iou: float = MATCH_IOU

    def __post_init__(self) -> None:
        """Refuse empty lists and what suppression would refuse."""
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
        candidates: of at least the labelled images.
        labels: faces by image.
        grid: settings; no score threshold below that of the candidates.

    Raises:
        EvaluationError: a labelled image has no candidates stored, or there is no labelled face.
        InvalidArgumentError: a score threshold below that of the candidates.
    """
    missing = [name for name in labels if name not in candidates.boxes]
    if missing:
        raise EvaluationError(f"{len(missing)} labelled images have no stored candidates, the first is {missing[0]}")
    faces = sum(map(len, labels.values()))
    if not faces:
        raise EvaluationError("the labels have no faces: there is nothing to find")
    if min(grid.score) < candidates.score_threshold:
        raise InvalidArgumentError(
            f"score thresholds start at {min(grid.score)}, but candidates were kept above {candidates.score_threshold} "
            "only; build an engine with a lower --score-threshold"
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
        hits.append(meets(boxes, faces, grid.match_iou))
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


def meets(boxes: FloatArray, faces: NDArray[np.floating], min_iou: float) -> NDArray[np.bool_]:
    """Tell which boxes, best first, meet a face; see take_greedily.

    Args:
        boxes: [N, 4], x1 y1 x2 y2.
        faces: [M, 4], likewise.
        min_iou: IoU from which on they meet.
    """
    return take_greedily(box_iou(boxes, faces), min_iou) >= 0
