"""WIDER FACE's average precision, as the benchmark's own tool and its Python port compute it.

The rules, for one subset (easy, medium, hard):

- Scores are stretched to 0..1 over all predictions of the whole set.
- A prediction belongs to the face that it overlaps most, whatever others do, if their IoU is at least 0.5. Sides count
  both end pixels: a box from left with a width reaches to left + width, and is width + 1 pixels wide.
- One that belongs to a face outside the subset is left out. The first one of a face is a hit; every other is a mistake.
- Precision and recall are taken at 1000 thresholds 0.999, 0.998, ... 0 of the stretched score; of each image the
  predictions up to the last one in its file that reaches the threshold count.
- Average precision is the area under precision, made non-increasing in recall.
- Predictions for an image without any labelled face are left out.

Nothing here loops over thresholds: each prediction enters the counts at one of them, so that sums up to there are
histograms, accumulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import EvaluationError
from engine.evaluate.widerface.files import GroundTruth

Floats = NDArray[np.float64]

_THRESHOLDS = 1 - np.arange(1, 1001) / 1000
_MIN_IOU = 0.5


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one subset.

    Attributes:
        precision: float64 [1000], at falling thresholds; 0 where nothing is predicted.
        recall: float64 [1000], rising.
        faces: labelled faces of the subset.
    """

    precision: Floats
    recall: Floats
    faces: int

    @property
    def average_precision(self) -> float:
        """The area under precision, made non-increasing, over recall."""
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * envelope))


@dataclass(frozen=True)
class _Matches:
    """All predictions of the set, in one row.

    Attributes:
        enters_at: index of the threshold from which on a prediction counts.
        face: the face it belongs to, counted over the whole set; -1 where there is none.
    """

    enters_at: NDArray[np.intp]
    face: NDArray[np.intp]


def evaluate(truth: GroundTruth, predictions: Sequence[Floats]) -> dict[str, Curve]:
    """Return precision and recall of each subset.

    Args:
        truth: the labelled faces.
        predictions: per image of `truth` float64 [N, 5]: left, top, width, height, score, finite; best first, as tools
            write them: the protocol does not sort.

    Raises:
        EvaluationError: a subset has no faces, or another number of images is predicted.
    """
    if len(predictions) != len(truth.names):
        raise EvaluationError(f"there are predictions for {len(predictions)} images, expected {len(truth.names)}")
    matches = _match(truth, predictions)
    return {name: _curve(name, np.concatenate(kept), matches) for name, kept in truth.subsets.items()}


def _match(truth: GroundTruth, predictions: Sequence[Floats]) -> _Matches:
    scores = _stretch([image[:, 4] for image in predictions])
    enters_at, faces = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    first = 0
    for boxes, predicted, score in zip(truth.boxes, predictions, scores, strict=True):
        if len(boxes) and len(predicted):
            overlaps = _iou(_corners(predicted), _corners(boxes))
            best = overlaps.argmax(1)
            reached = overlaps[np.arange(len(best)), best] >= _MIN_IOU
            faces.append(np.where(reached, first + best, -1))
            # A worse one that stands before a better one in the file counts along with that.
            best_from_here = np.maximum.accumulate(score[::-1])[::-1]
            enters_at.append(np.searchsorted(-_THRESHOLDS, -best_from_here))
        first += len(boxes)
    return _Matches(np.concatenate(enters_at), np.concatenate(faces))


def _stretch(scores: Sequence[Floats]) -> list[Floats]:
    """Map the lowest score of the set to 0 and the highest to 1; to 1 all, where they are equal."""
    present = np.concatenate([*scores, np.empty(0)])
    # The port starts from 0 and 1, which matters where all scores lie above 1 or below 0.
    low, high = min(present.min(initial=1.0), 1.0), max(present.max(initial=0.0), 0.0)
    if high <= low:
        return [np.ones_like(score) for score in scores]
    return [(score - low) / (high - low) for score in scores]


def _corners(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], 1)


def _iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of each box of `a` with each of `b`; both end pixels of a side count."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low + 1, 0)
    common = sides[..., 0] * sides[..., 1]
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2] + 1, 1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None, :] - common
    iou: Floats = np.divide(common, union, out=np.zeros_like(common), where=common > 0)
    return iou


def _curve(name: str, kept: NDArray[np.bool_], matches: _Matches) -> Curve:
    faces = int(kept.sum())
    if faces == 0:
        raise EvaluationError(f"the subset {name} has no faces: there is nothing to measure")
    belongs = matches.face >= 0
    counts = ~belongs
    counts[belongs] = kept[matches.face[belongs]]
    hits = np.flatnonzero(belongs & counts)
    _, first_of_face = np.unique(matches.face[hits], return_index=True)
    predicted = _accumulated(matches.enters_at[counts])
    found = _accumulated(matches.enters_at[hits[first_of_face]])
    precision = np.divide(found, predicted, out=np.zeros_like(found), where=predicted > 0)
    return Curve(precision, found / faces, faces)


def _accumulated(enters_at: NDArray[np.intp]) -> Floats:
    """Count, for each threshold, what enters there or before."""
    return np.bincount(enters_at, minlength=len(_THRESHOLDS)).cumsum().astype(np.float64)
