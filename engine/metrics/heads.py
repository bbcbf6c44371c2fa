"""Points and values of matched faces, against another engine's and against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.matching import MatchedFaces, box_size, match_labels
from engine.metrics.spread import Spread, spread
from engine.types import DEFAULT_SCORE_THRESHOLD, FloatArray


@dataclass(frozen=True, eq=False)
class HeadLabels:
    """What labels say of an image's N faces besides their boxes.

    Attributes:
        landmarks: float32 [N, L, 2], x y in pixels, NaN where a face has none; None without labelled landmarks.
        values: float32 [N, D] by name of the head, NaN where a face has none.
    """

    landmarks: FloatArray | None
    values: Mapping[str, FloatArray]


@dataclass(frozen=True)
class HeadErrors:
    """Errors of the points and values of faces that are found, against their labels.

    Attributes:
        landmarks: mean distance of a face's points, divided by the square root of the labelled box's area. Any points
            have such an error, as on AFLW2000-3D (Zhu et al., "Face Alignment Across Large Poses", 2016), which takes
            the box around the points. None if no face that is found has labelled points.
        values: mean absolute error of the numbers of a face's head, by name, in the head's unit, which for points is a
            pixel; None as above.
    """

    landmarks: Spread | None
    values: dict[str, Spread | None]

    @property
    def known(self) -> dict[str, Spread]:
        """The errors that there are, by "landmarks" and the names of heads, none of which has that name."""
        everything = {"landmarks": self.landmarks, **self.values}
        return {name: found for name, found in everything.items() if found is not None}


def head_errors(
    truth: Sequence[NDArray[np.floating]],
    labels: Sequence[HeadLabels],
    detections: Sequence[Detections],
    *,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    ignored: Sequence[NDArray[np.bool_]] | None = None,
) -> HeadErrors:
    """Match faces whatever their class, as average_precision does, and compare points and values of those that match.

    Args:
        truth: labelled boxes of each image, [N, 4].
        labels: of the same faces. A face with a NaN among its points, or a head's values, counts as one without them.
        detections: of the same images.
        score_threshold: detections have at least this score.
        ignored: labelled faces, bool [N] of each image, that are not compared.

    Raises:
        InvalidArgumentError: the lists differ in length; or faces that are found lack landmarks or a head's values, or
            have another number of them.
    """
    if not len(truth) == len(labels) == len(detections):
        raise InvalidArgumentError(
            f"there are labels of {len(truth)} images, points and values of {len(labels)} and detections of "
            f"{len(detections)}, expected the same images"
        )
    left_out = ignored or [np.zeros(len(boxes), np.bool_) for boxes in truth]
    points, values = _Gathered(), {name: _Gathered() for own in labels for name in own.values}
    for index, (boxes, own, faces, left) in enumerate(zip(truth, labels, detections, left_out, strict=True)):
        rows, columns = match_labels(boxes, faces, left, score_threshold)
        if not len(rows):
            continue
        if own.landmarks is not None:
            expected, given = _both("landmarks", own.landmarks[rows], faces.landmarks, columns)
            apart = np.linalg.norm(expected - given, axis=2).mean(axis=1)
            points.add(index, apart / box_size(boxes[rows]))
        for name, labelled in own.values.items():
            expected, given = _both(f"values of {name!r}", labelled[rows], faces.values.get(name), columns)
            values[name].add(index, np.abs(expected - given).mean(axis=1))
    return HeadErrors(points.spread(), {name: found.spread() for name, found in values.items()})


def value_changes(
    reference: Sequence[Detections], candidate: Sequence[Detections], matched: MatchedFaces
) -> dict[str, Spread | None]:
    """Return the mean absolute difference of the numbers of each matched face, for each head that both engines have.

    Args:
        reference: faces of each image.
        candidate: faces of the same images.
        matched: pairs of them, from match_faces.

    Returns:
        By name of the head, in the head's unit; None without matched faces.
    """
    ours, theirs = (dict.fromkeys(name for faces in side for name in faces.values) for side in (reference, candidate))
    changes = {name: _Gathered() for name in ours if name in theirs}
    for image in np.unique(matched.image).tolist():
        pairs = matched.image == image
        rows, columns = matched.reference[pairs], matched.candidate[pairs]
        for name, found in changes.items():
            one, other = reference[image].values.get(name), candidate[image].values.get(name)
            if one is not None and other is not None:
                apart = one[rows].astype(np.float64) - other[columns]
                found.add(image, np.abs(apart).mean(axis=1))
    return {name: found.spread() for name, found in changes.items()}


class _Gathered:
    """One number of each of several faces, with their images; NaN is no number."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float64]] = [np.zeros(0)]
        self._images: list[NDArray[np.intp]] = [np.zeros(0, np.intp)]

    def add(self, image: int, values: NDArray[np.float64]) -> None:
        known = values[~np.isnan(values)]
        self._values.append(known)
        self._images.append(np.full(len(known), image))

    def spread(self) -> Spread | None:
        return spread(np.concatenate(self._values), np.concatenate(self._images))


def _both(
    what: str, labelled: FloatArray, found: FloatArray | None, columns: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what labels and detections say of the same faces; InvalidArgumentError if they have other shapes."""
    if found is None or found.shape[1:] != labelled.shape[1:]:
        given = "none" if found is None else f"{found.shape[1]} a face"
        raise InvalidArgumentError(
            f"the labels have {labelled.shape[1]} {what} a face and the detections {given}, expected as many"
        )
    return labelled.astype(np.float64), found[columns].astype(np.float64)
