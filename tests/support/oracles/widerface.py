"""WIDER FACE's average precision, with plain loops over faces and thresholds."""

from __future__ import annotations

from collections.abc import Sequence

THRESHOLDS = 1000

Box = Sequence[float]  # left, top, width, height
Prediction = Sequence[float]  # left, top, width, height, score


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union with sides + 1: both end pixels belong to a box."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]) + 1
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] + 1) * (a[3] + 1) + (b[2] + 1) * (b[3] + 1) - width * height)


def average_precision(
    faces: Sequence[Sequence[Box]], kept: Sequence[Sequence[bool]], predictions: Sequence[Sequence[Prediction]]
) -> float:
    """Return the average precision over a set of images.

    Args:
        faces: labelled faces of each image.
        kept: for each face, whether it is in the subset.
        predictions: predictions of each image, in the order of its file.
    """
    scores = [prediction[4] for image in predictions for prediction in image]
    low, high = min([1.0, *scores]), max([0.0, *scores])
    owners = [[_owner(image_faces, p) for p in image] for image_faces, image in zip(faces, predictions, strict=True)]
    precision, recall = [], []
    total = sum(sum(image) for image in kept)
    for step in range(1, THRESHOLDS + 1):
        hits = counted = 0
        for image_faces, image_kept, image, image_owners in zip(faces, kept, predictions, owners, strict=True):
            if image_faces:
                reaching = _reaching(image, low, high, 1 - step / THRESHOLDS)
                found, others = _count(image_kept, image_owners[:reaching])
                hits += found
                counted += found + others
        precision.append(hits / counted if counted else 0.0)
        recall.append(hits / total)
    area = before = 0.0
    for i in range(THRESHOLDS):
        area += (recall[i] - before) * max(precision[i:])
        before = recall[i]
    return area


def _owner(faces: Sequence[Box], prediction: Prediction) -> int | None:
    """Return the index of the face with the largest overlap, None if that is below 0.5."""
    overlaps = [iou(prediction, face) for face in faces]
    return overlaps.index(max(overlaps)) if overlaps and max(overlaps) >= 0.5 else None


def _reaching(image: Sequence[Prediction], low: float, high: float, threshold: float) -> int:
    """Return the number of predictions up to the last one that reaches the threshold."""
    return max([i + 1 for i, p in enumerate(image) if (p[4] - low) / (high - low) >= threshold], default=0)


def _count(kept: Sequence[bool], owners: Sequence[int | None]) -> tuple[int, int]:
    """Return the numbers of hits and false positives; faces outside the subset count as neither."""
    met: set[int] = set()
    mistakes = 0
    for face in owners:
        if face is None:
            mistakes += 1
        elif kept[face]:
            mistakes += face in met
            met.add(face)
    return len(met), mistakes
