"""The agreement of a candidate engine's faces with a reference engine's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.average_precision import Boxes, SizeRange, average_precision, average_precision_by_size
from engine.metrics.heads import value_changes
from engine.metrics.matching import MATCH_IOU, MatchedFaces, assign, box_iou, match_faces
from engine.metrics.precision_change import PrecisionChange, precision_changes
from engine.metrics.spread import Spread, spread
from engine.types import DEFAULT_SCORE_THRESHOLD

SCORE_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
# A box moved along a side by a small share of its length loses twice that share of IoU.
_LANDMARK_WEIGHT = 2.0


@dataclass(frozen=True)
class Presence:
    """Lost and new faces at one score threshold for both engines.

    Attributes:
        threshold: faces need at least this score.
        reference: number of the reference's faces.
        candidate: number of the candidate's faces.
        lost: number of the reference's faces without a match among the candidate's.
        dipped: lost faces that the candidate still finds below the threshold, as when .501 became .499.
        new: number of the candidate's faces without a match among the reference's.
        risen: new faces that the reference finds below the threshold.
    """

    threshold: float
    reference: int
    candidate: int
    lost: int
    dipped: int
    new: int
    risen: int


@dataclass(frozen=True)
class LabelledPrecision:
    """Average precision of both engines against labels.

    Attributes:
        faces: number of labelled faces.
        reference: average precision of the reference; None without labelled faces.
        candidate: average precision of the candidate.
        reference_by_size: the reference's, by the size of the labelled face.
        candidate_by_size: the candidate's, by the size of the labelled face.
        change: candidate minus reference, with its interval; None without labelled faces.
        change_by_size: the same by the size of the labelled face.
    """

    faces: int
    reference: float | None
    candidate: float | None
    reference_by_size: tuple[SizeRange, ...]
    candidate_by_size: tuple[SizeRange, ...]
    change: PrecisionChange | None
    change_by_size: tuple[PrecisionChange | None, ...]


@dataclass(frozen=True)
class Agreement:
    """A candidate engine compared with a reference over a set of images.

    Attributes:
        images: number of images.
        score_threshold: the reference's faces need at least this score.
        match_iou: smallest IoU of two boxes of the same face.
        faces: number of the reference's faces.
        matched: how many of them the candidate finds, with any score.
        loss: the larger one of box_loss and landmark_loss.
        box_loss: 1 - mean IoU over the reference's faces, where a face that the candidate does not find with at least
            score_threshold counts as IoU 0; 0 without faces.
        landmark_loss: mean over the same faces of twice the landmark error, at most 1, where a face that is not found
            counts as 1; None without landmarks. Twice, because a box that moves as far loses that much IoU.
        iou: IoU of the two boxes of each matched face; None without matched faces.
        score_change: absolute difference of the two scores of each matched face.
        score_shift: mean of candidate score minus reference score; 0 without matched faces.
        landmark_error: mean distance of all landmarks of each matched face, divided by the size of the reference
            box; None without landmarks.
        presence: lost and new faces at several score thresholds.
        average_precision: of the candidate, with the reference's faces as the truth; None without faces.
        labels: average precision of both against labels; None without labels.
        values: mean absolute difference of the numbers of each matched face, by name of each head of values that both
            have; None without matched faces. The loss does not count it: it has the head's unit, or pixels.
    """

    images: int
    score_threshold: float
    match_iou: float
    faces: int
    matched: int
    loss: float
    box_loss: float
    landmark_loss: float | None
    iou: Spread | None
    score_change: Spread | None
    score_shift: float
    landmark_error: Spread | None
    presence: tuple[Presence, ...]
    average_precision: float | None
    labels: LabelledPrecision | None
    values: dict[str, Spread | None]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without those of heads if there are none."""
        plain = asdict(self)
        if not self.values:
            del plain["values"]
        return plain

    def at(self, threshold: float) -> Presence:
        """Return the lost and new faces at one of the compared thresholds; raise InvalidArgumentError for another."""
        for entry in self.presence:
            if entry.threshold == threshold:
                return entry
        known = ", ".join(str(entry.threshold) for entry in self.presence)
        raise InvalidArgumentError(f"score threshold is {threshold}, expected one that was compared: {known}")


def agreement(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    labels: Sequence[Boxes] | None = None,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    thresholds: Sequence[float] = SCORE_THRESHOLDS,
    match_iou: float = MATCH_IOU,
) -> Agreement:
    """Compare two engines' faces of the same images.

    Both lists should go down to low scores: a match may have any score, and average precision needs them all.

    Args:
        reference: faces of each image, from the trusted engine.
        candidate: faces of each image, from the other engine.
        labels: labelled boxes of each image, [N, 4].
        score_threshold: the reference's faces of at least this score are matched.
        thresholds: score thresholds at which lost and new faces are counted.
        match_iou: smallest IoU of a match.

    Raises:
        InvalidArgumentError: the lists differ in length, in the number of landmarks or in that of a head's values, hold
            numbers that are not finite, or a threshold is out of range.
    """
    for name, value in (("score_threshold", score_threshold), *(("thresholds", v) for v in thresholds)):
        if not 0.0 <= value <= 1.0:
            raise InvalidArgumentError(f"{name}: {value!r} is out of range, expected 0 to 1")
    if not 0.0 < match_iou <= 1.0:
        raise InvalidArgumentError(f"match_iou is {match_iou!r}, expected above 0 and at most 1")
    matched = match_faces(reference, candidate, score_threshold=score_threshold, match_iou=match_iou)
    truth = [faces.boxes[faces.scores >= score_threshold] for faces in reference]
    faces = sum(len(boxes) for boxes in truth)
    with_landmarks = bool(len(matched.iou)) and not np.isnan(matched.landmark_error).any()
    found = matched.candidate_score >= score_threshold
    landmark_kept = 1.0 - np.minimum(_LANDMARK_WEIGHT * matched.landmark_error, 1.0)
    box_loss = _loss(matched.iou[found], faces)
    landmark_loss = _loss(landmark_kept[found], faces) if with_landmarks else None
    return Agreement(
        images=len(reference),
        score_threshold=score_threshold,
        match_iou=match_iou,
        faces=faces,
        matched=len(matched.iou),
        loss=max(box_loss, landmark_loss or 0.0),
        box_loss=box_loss,
        landmark_loss=landmark_loss,
        iou=spread(matched.iou, matched.image),
        score_change=spread(np.abs(matched.score_change), matched.image),
        score_shift=_mean(matched),
        landmark_error=spread(matched.landmark_error, matched.image) if with_landmarks else None,
        presence=tuple(presence(reference, candidate, t, match_iou) for t in thresholds),
        average_precision=average_precision(truth, candidate, match_iou=match_iou),
        labels=None if labels is None else _against_labels(labels, reference, candidate, match_iou),
        values=value_changes(reference, candidate, matched),
    )


def presence(
    reference: Sequence[Detections], candidate: Sequence[Detections], threshold: float, match_iou: float = MATCH_IOU
) -> Presence:
    """Count lost and new faces at one score threshold."""
    counts = np.zeros(6, int)
    for ours, theirs in zip(reference, candidate, strict=True):
        lost, new = lost_and_new(ours, theirs, threshold, match_iou)
        iou = box_iou(ours.boxes, theirs.boxes)
        below, above = iou[:, theirs.scores < threshold], iou[ours.scores < threshold, :]
        counts += (
            int((ours.scores >= threshold).sum()),
            int((theirs.scores >= threshold).sum()),
            len(lost),
            int((below[lost] >= match_iou).any(axis=1).sum()),
            len(new),
            int((above[:, new] >= match_iou).any(axis=0).sum()),
        )
    return Presence(threshold, *counts.tolist())


def lost_and_new(
    ours: Detections, theirs: Detections, threshold: float, match_iou: float = MATCH_IOU
) -> tuple[list[int], list[int]]:
    """Return the indices of lost reference faces and of new candidate faces of one image."""
    left, right = (np.flatnonzero(faces.scores >= threshold) for faces in (ours, theirs))
    rows, columns = assign(box_iou(ours.boxes[left], theirs.boxes[right]), match_iou)
    return np.delete(left, rows).tolist(), np.delete(right, columns).tolist()


def _loss(kept: NDArray[np.float64], faces: int) -> float:
    """Return the loss, given what is kept of each face that is found."""
    return 1.0 - float(kept.sum()) / faces if faces else 0.0


def _mean(matched: MatchedFaces) -> float:
    return float(matched.score_change.mean()) if len(matched.iou) else 0.0


def _against_labels(
    labels: Sequence[Boxes], reference: Sequence[Detections], candidate: Sequence[Detections], match_iou: float
) -> LabelledPrecision:
    change, change_by_size = precision_changes(labels, reference, candidate, match_iou=match_iou)
    return LabelledPrecision(
        faces=sum(len(boxes) for boxes in labels),
        reference=average_precision(labels, reference, match_iou=match_iou),
        candidate=average_precision(labels, candidate, match_iou=match_iou),
        reference_by_size=average_precision_by_size(labels, reference, match_iou=match_iou),
        candidate_by_size=average_precision_by_size(labels, candidate, match_iou=match_iou),
        change=change,
        change_by_size=change_by_size,
    )
