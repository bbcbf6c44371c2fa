"""Matches the boxes of one engine with those of another, or with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.types import FloatArray

MATCH_IOU = 0.5
"""Two boxes of at least this IoU are the same face, as in WIDER FACE and PASCAL VOC."""


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the intersection over union of every box of `a` with every box of `b`, [A, B]; 0 for empty boxes."""
    a, b = np.asarray(a, np.float64).reshape(-1, 1, 4), np.asarray(b, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0.0, None).prod(-1)
    union = _area(a) + _area(b) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def box_size(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the square root of each box's area, [N]: the size of a face in pixels."""
    return np.sqrt(_area(np.asarray(boxes, np.float64).reshape(-1, 4)))


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None).prod(-1))


def assign(iou: NDArray[np.float64], match_iou: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair rows with columns so that the sum of their IoU is as large as possible.

    Returns:
        Indices of the rows, ascending, and of their columns; only pairs with an IoU of at least match_iou.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.where(iou >= match_iou, iou, 0.0), maximize=True)
    keep = iou[rows, columns] >= match_iou
    return rows[keep], columns[keep]


def take_greedily(
    iou: NDArray[np.float64], match_iou: float, preferred: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Let each detection in turn take the remaining face with which it has the largest IoU.

    Args:
        iou: [N, M], of the detections, best first, with the faces.
        match_iou: smallest IoU of a match.
        preferred: bool [M]; a detection takes another face only if it matches none of these.

    Returns:
        The index of each detection's face, or -1, [N].
    """
    taken = np.full(len(iou), -1, np.intp)
    left = np.where(iou >= match_iou, iou, -1.0)
    kinds = [left] if preferred is None else [np.where(preferred, left, -1.0), np.where(preferred, -1.0, left)]
    for i in np.flatnonzero((left >= 0).any(1)):
        for kind in kinds:
            face = kind[i].argmax()
            if kind[i, face] >= 0:
                taken[i] = face
                kind[:, face] = -1.0
                break
    return taken


def match_labels(
    truth: NDArray[np.floating], faces: Detections, ignored: NDArray[np.bool_], score_threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair the labelled faces of an image with detections, which choose in the order of their scores.

    Args:
        truth: labelled boxes, [N, 4].
        faces: detections.
        ignored: bool [N], labelled faces that are not paired: a detection that matches no other is left out.
        score_threshold: detections have at least this score.

    Returns:
        Indices of labelled faces, and of their detections.
    """
    order = np.argsort(-faces.scores, kind="stable")
    order = order[faces.scores[order] >= score_threshold]
    taken = take_greedily(box_iou(faces.boxes[order], truth), MATCH_IOU, preferred=~ignored)
    counts = np.append(~ignored, False)[taken]  # index -1 is "no face"
    return taken[counts], order[counts]


@dataclass(frozen=True)
class MatchedFaces:
    """Faces that both engines found, over all images.

    Attributes:
        image: int [K], index of the image.
        reference: int [K], index among the image's reference faces.
        candidate: int [K], index among the image's candidate faces.
        iou: float64 [K], of the two boxes.
        reference_score: float64 [K].
        candidate_score: float64 [K].
        landmark_error: float64 [K], mean distance of all landmarks divided by the size of the reference box; NaN if
            either engine has no landmarks.
    """

    image: NDArray[np.intp]
    reference: NDArray[np.intp]
    candidate: NDArray[np.intp]
    iou: NDArray[np.float64]
    reference_score: NDArray[np.float64]
    candidate_score: NDArray[np.float64]
    landmark_error: NDArray[np.float64]

    @property
    def score_change(self) -> NDArray[np.float64]:
        """Candidate score minus reference score, [K]."""
        return self.candidate_score - self.reference_score


def match_faces(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    score_threshold: float = 0.5,
    match_iou: float = MATCH_IOU,
) -> MatchedFaces:
    """Match each reference face with a candidate face.

    Args:
        reference: faces of each image.
        candidate: faces of the same images, down to low scores: a match may have any score.
        score_threshold: reference faces of at least this score are matched.
        match_iou: smallest IoU of a match.

    Raises:
        InvalidArgumentError: the lists differ in length, in the number of landmarks or in that of a head's values, or
            hold numbers that are not finite.
    """
    check_detections(reference, candidate)
    parts = [
        _match_image(index, ours, theirs, score_threshold, match_iou)
        for index, (ours, theirs) in enumerate(zip(reference, candidate, strict=True))
    ]
    return MatchedFaces(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(parts[0])))


def _match_image(
    index: int, ours: Detections, theirs: Detections, score_threshold: float, match_iou: float
) -> MatchedFaces:
    wanted = np.flatnonzero(ours.scores >= score_threshold)
    iou = box_iou(ours.boxes[wanted], theirs.boxes)
    rows, columns = assign(iou, match_iou)
    return MatchedFaces(
        np.full(len(rows), index),
        wanted[rows],
        columns,
        iou[rows, columns],
        ours.scores[wanted[rows]].astype(np.float64),
        theirs.scores[columns].astype(np.float64),
        _landmark_error(ours, theirs, wanted[rows], columns),
    )


def check_detections(reference: Sequence[Detections], candidate: Sequence[Detections]) -> None:
    """Raise InvalidArgumentError unless both can be compared.

    They can if they have the same images, at least one, faces of as many landmarks and values of each head, and all
    numbers are finite.
    """
    if len(reference) != len(candidate):
        raise InvalidArgumentError(
            f"reference has {len(reference)} images and candidate {len(candidate)}, expected the same images"
        )
    if not reference:
        raise InvalidArgumentError("there are no images to compare")
    for name, side in (("reference", reference), ("candidate", candidate)):
        for index, faces in enumerate(side):
            landmarks: FloatArray = np.zeros(0, np.float32) if faces.landmarks is None else faces.landmarks
            numbers = (faces.boxes, faces.scores, landmarks, *faces.values.values())
            if not all(np.isfinite(values).all() for values in numbers):
                raise InvalidArgumentError(f"{name}[{index}] holds a box, score, landmark or value that is not finite")
    for index, (ours, theirs) in enumerate(zip(reference, candidate, strict=True)):
        if len(ours) and len(theirs):
            _check_sizes(index, ours, theirs)


def _check_sizes(index: int, ours: Detections, theirs: Detections) -> None:
    pairs = {"landmarks": (ours.landmarks, theirs.landmarks)}
    pairs |= {f"values of {name!r}": (values, theirs.values.get(name)) for name, values in ours.values.items()}
    for what, (one, other) in pairs.items():
        if one is not None and other is not None and one.shape[1] != other.shape[1]:
            raise InvalidArgumentError(
                f"reference[{index}] has {one.shape[1]} {what} a face and candidate[{index}] {other.shape[1]}, "
                "expected as many"
            )


def _landmark_error(
    ours: Detections, theirs: Detections, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    if ours.landmarks is None or theirs.landmarks is None or not len(rows):  # no faces may have any number of points
        return np.full(len(rows), np.nan)
    apart = ours.landmarks[rows].astype(np.float64) - theirs.landmarks[columns].astype(np.float64)
    size = box_size(ours.boxes[rows])  # positive: an empty box matches nothing
    return np.asarray(np.linalg.norm(apart, axis=2).mean(axis=1) / size)
