"""Labels completed with what the weights find that a training starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.faces import Detections
from engine.metrics.matching import MATCH_IOU, assign, box_iou
from engine.train.labels.labelled import LabelledPicture

_APART = 0.3
"""What overlaps each label by less is another face."""


@dataclass(frozen=True)
class Completed:
    """Pictures with completed labels, and what was added.

    Attributes:
        pictures: in the order of those that were given.
        landmarks: number of faces that were given landmarks.
        without: number of faces that still have none.
        ignored: number of faces that were added to be ignored.
    """

    pictures: list[LabelledPicture]
    landmarks: int
    without: int
    ignored: int

    def line(self) -> str:
        """Return them in words."""
        return (
            f"labels completed with what the first weights find: {self.landmarks} faces got landmarks, {self.without} "
            f"have none; {self.ignored} faces without a label are ignored"
        )


def complete(
    pictures: Sequence[LabelledPicture], found: Sequence[Detections], *, landmarks: bool, ignore_from: float
) -> Completed:
    """Complete labels.

    Args:
        pictures: and their labels, which stay as they are.
        found: in each picture, down to low scores.
        landmarks: whether faces without landmarks get those of the face that was found there (an IoU of .5).
        ignore_from: faces found with at least this score where no label is are ignored; 0 ignores none.
    """
    given = [_with_landmarks(p, f) if landmarks else p for p, f in zip(pictures, found, strict=True)]
    full = [_with_ignored(p, f, ignore_from) if ignore_from else p for p, f in zip(given, found, strict=True)]
    before, after = (sum(map(_without_landmarks, some)) for some in (pictures, given))
    added = sum(len(new.boxes) - len(old.boxes) for new, old in zip(full, given, strict=True))
    return Completed(full, before - after, after, added)


def _with_landmarks(picture: LabelledPicture, found: Detections) -> LabelledPicture:
    if found.landmarks is None:
        return picture
    rows, columns = assign(box_iou(picture.boxes, found.boxes), MATCH_IOU)
    lacking = np.isnan(picture.landmarks[rows]).any((1, 2))
    landmarks = picture.landmarks.copy()
    landmarks[rows[lacking]] = found.landmarks[columns[lacking]]
    return replace(picture, landmarks=landmarks)


def _with_ignored(picture: LabelledPicture, found: Detections, least: float) -> LabelledPicture:
    inside = found[found.scores >= least].clip()
    has_area = (inside.boxes[:, 2:] > inside.boxes[:, :2]).all(1)
    other = inside.boxes[(box_iou(inside.boxes, picture.boxes) < _APART).all(1) & has_area]
    return replace(
        picture,
        boxes=np.concatenate([picture.boxes, other]),
        landmarks=np.concatenate([picture.landmarks, np.full((len(other), 5, 2), np.nan, np.float32)]),
        ignored=np.concatenate([picture.ignored, np.ones(len(other), np.bool_)]),
    )


def _without_landmarks(picture: LabelledPicture) -> int:
    return int(np.isnan(picture.landmarks[~picture.ignored]).any((1, 2)).sum())
