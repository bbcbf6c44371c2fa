"""WIDER FACE's average precision, as the benchmark's own tool and its Python port compute it.

The rules, for one subset (easy, medium, hard):

- Scores are normalised to 0..1 over all predictions of the whole set.
- A prediction is assigned to the face with which it has the largest IoU, if that is at least 0.5, even if that face
  is taken. Sides include both end pixels: a box ends at left + width, and is width + 1 pixels wide.
- Predictions assigned to a face outside the subset are ignored. The first prediction of a face is a hit. All others,
  and those without a face, are false positives.
- Precision and recall are taken at the 1000 thresholds 0.999, 0.998, ... 0 of the normalised score. At each threshold
  an image's predictions count up to the last one in its file that reaches the threshold.
- Average precision is the area under precision over recall, with precision made non-increasing.
- Predictions for an image without any labelled face are ignored.

There is no loop over thresholds: each prediction counts from one threshold on, so the counts are cumulative histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import EvaluationError
from engine.evaluate.widerface.files import GroundTruth

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_THRESHOLDS = 1 - np.arange(1, 1001) / 1000
_MIN_IOU = 0.5


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one subset.

    Attributes:
        precision: float64 [1000], at decreasing thresholds; 0 without predictions.
        recall: float64 [1000], non-decreasing.
        faces: number of labelled faces of the subset.
    """

    precision: Floats
    recall: Floats
    faces: int

    @property
    def average_precision(self) -> float:
        """The area under precision over recall, with precision made non-increasing."""
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * envelope))


def evaluate(truth: GroundTruth, predictions: Sequence[Floats]) -> dict[str, Curve]:
    """Return precision and recall of each subset.

    Args:
        truth: the labelled faces.
        predictions: float64 [N, 5] for each image of `truth`: left, top, width, height, score; finite. The protocol
            does not sort them: tools write the best first.

    Raises:
        EvaluationError: a subset has no faces, or the numbers of images differ.
    """
    if len(predictions) != len(truth.names):
        raise EvaluationError(f"there are predictions for {len(predictions)} images, expected {len(truth.names)}")
    enters_at, face = _match(truth, predictions)
    return {name: _curve(name, np.concatenate(kept), enters_at, face) for name, kept in truth.subsets.items()}


def _match(truth: GroundTruth, predictions: Sequence[Floats]) -> tuple[Indices, Indices]:
    """Return, for each prediction of the set, the index of the first threshold at which it counts, and of its face.

    Faces count over the whole set; -1 is no face.
    """
    scores = _stretch([image[:, 4] for image in predictions])
    enters_at, faces = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    first = 0
    for boxes, predicted, score in zip(truth.boxes, predictions, scores, strict=True):
        if len(boxes) and len(predicted):
            overlaps = _iou(_corners(predicted), _corners(boxes))
            best = overlaps.argmax(1)
            reached = overlaps[np.arange(len(best)), best] >= _MIN_IOU
            faces.append(np.where(reached, first + best, -1))
            # A prediction counts as soon as a better one behind it in the file does.
            best_from_here = np.maximum.accumulate(score[::-1])[::-1]
            enters_at.append(np.searchsorted(-_THRESHOLDS, -best_from_here))
        first += len(boxes)
    return np.concatenate(enters_at), np.concatenate(faces)


def _stretch(scores: Sequence[Floats]) -> list[Floats]:
    """Normalise scores: the lowest of the set to 0, the highest to 1; all to 1 if they are equal."""
    present = np.concatenate([*scores, np.empty(0)])
    # As in the port, the range includes a part of 0..1 even if all scores lie above 1 or below 0.
    low, high = min(present.min(initial=1.0), 1.0), max(present.max(initial=0.0), 0.0)
    if high <= low:
        return [np.ones_like(score) for score in scores]
    return [(score - low) / (high - low) for score in scores]


def _corners(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], 1)


def _iou(a: Floats, b: Floats) -> Floats:
    """Return the IoU of each box of `a` with each of `b`; sides include both end pixels."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low + 1, 0)
    common = sides[..., 0] * sides[..., 1]
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2] + 1, 1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None, :] - common
    iou: Floats = np.divide(common, union, out=np.zeros_like(common), where=common > 0)
    return iou


def _curve(name: str, kept: NDArray[np.bool_], enters_at: Indices, face: Indices) -> Curve:
    faces = int(kept.sum())
    if faces == 0:
        raise EvaluationError(f"the subset {name} has no faces: its average precision is undefined")
    belongs = face >= 0
    counts = ~belongs
    counts[belongs] = kept[face[belongs]]
    hits = np.flatnonzero(belongs & counts)
    _, first_of_face = np.unique(face[hits], return_index=True)
    predicted = _accumulated(enters_at[counts])
    found = _accumulated(enters_at[hits[first_of_face]])
    precision = np.divide(found, predicted, out=np.zeros_like(found), where=predicted > 0)
    return Curve(precision, found / faces, faces)


def _accumulated(enters_at: Indices) -> Floats:
    """Count, for each threshold, the predictions that count at it."""
    return np.bincount(enters_at, minlength=len(_THRESHOLDS)).cumsum().astype(np.float64)
