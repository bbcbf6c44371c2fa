"""Classes of the faces that are found, against those of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.matching import match_labels
from engine.types import DEFAULT_SCORE_THRESHOLD


@dataclass(frozen=True)
class ClassTable:
    """How many faces of each class were found as which one.

    Attributes:
        names: of the classes.
        found: for each class of labels, the number of its faces that were found as each class.
        missed: for each class of labels, the number of its faces that were not found.
    """

    names: tuple[str, ...]
    found: tuple[tuple[int, ...], ...]
    missed: tuple[int, ...]

    @property
    def accuracy(self) -> float | None:
        """The part of the faces that were found whose class is right; None if none was found."""
        total = sum(map(sum, self.found))
        return sum(row[i] for i, row in enumerate(self.found)) / total if total else None

    def rows(self) -> list[list[str]]:
        """Return each class of labels as text, as which classes its faces were found, and how many were not."""
        return [
            [name, *map(str, found), str(missed)]
            for name, found, missed in zip(self.names, self.found, self.missed, strict=True)
        ]


def class_table(
    truth: Sequence[NDArray[np.floating]],
    classes: Sequence[NDArray[np.integer]],
    detections: Sequence[Detections],
    names: Sequence[str],
    *,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    ignored: Sequence[NDArray[np.bool_]] | None = None,
) -> ClassTable:
    """Match faces whatever their class, as average_precision does, and count the classes of those that match.

    Args:
        truth: labelled faces of each image, [N, 4].
        classes: of these faces, [N], from 1.
        detections: of the same images, of a model with these classes.
        names: of the classes.
        score_threshold: detections have at least this score.
        ignored: labelled faces, bool [N] of each image, that are not counted.

    Raises:
        InvalidArgumentError: the lists differ in length, or detections have no classes.
    """
    if not len(truth) == len(classes) == len(detections):
        raise InvalidArgumentError(
            f"there are labels of {len(truth)} images, classes of {len(classes)} and detections of {len(detections)}, "
            "expected the same images"
        )
    counts = np.zeros((len(names), len(names) + 1), np.int64)  # the last column: not found
    left_out = ignored or [np.zeros(len(boxes), np.bool_) for boxes in truth]
    for boxes, labels, faces, left in zip(truth, classes, detections, left_out, strict=True):
        if faces.classes is None:
            raise InvalidArgumentError("the detections have no classes: their model has one")
        rows, columns = match_labels(boxes, faces, left, score_threshold)
        found_as = np.full(len(boxes), len(names))
        found_as[rows] = faces.classes[columns] - 1
        np.add.at(counts, (labels[~left] - 1, found_as[~left]), 1)
    return ClassTable(tuple(names), tuple(map(tuple, counts[:, :-1].tolist())), tuple(counts[:, -1].tolist()))
