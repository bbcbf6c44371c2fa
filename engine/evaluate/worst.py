"""Finds the pictures where two engines differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.faces import Detections
from engine.metrics.matching import match_faces


@dataclass(frozen=True)
class WorstImage:
    """A picture and its worst face.

    Attributes:
        image: index of the picture.
        harm: how much the face differs, 0 to 1: the larger of 1 - IoU and the change of score; 1 if only one engine
            has it.
        kind: "lost" or "new" if only one engine has it, else "moved" or "rescored".
        box: around the boxes of both engines; float64 [4].
    """

    image: int
    harm: float
    kind: str
    box: NDArray[np.float64]

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain values for JSON."""
        box = [round(float(v), 2) for v in self.box]
        return {"image": names[self.image], "harm": self.harm, "kind": self.kind, "box": box}


def worst_images(
    reference: Sequence[Detections], candidate: Sequence[Detections], score_threshold: float, count: int
) -> tuple[WorstImage, ...]:
    """Return up to `count` pictures, by the harm to their worst face of at least score_threshold in either engine."""
    worst: dict[int, WorstImage] = {}
    for entry in (
        *_differences(reference, candidate, score_threshold, "lost"),
        *_differences(candidate, reference, score_threshold, "new"),
    ):
        if entry.image not in worst or entry.harm > worst[entry.image].harm:
            worst[entry.image] = entry
    ranked = sorted(worst.values(), key=lambda entry: (-entry.harm, entry.image))
    return tuple(entry for entry in ranked if entry.harm > 0)[:count]


def _differences(
    ours: Sequence[Detections], theirs: Sequence[Detections], score_threshold: float, missing: str
) -> list[WorstImage]:
    matched = match_faces(ours, theirs, score_threshold=score_threshold)
    entries = []
    for image, mine, other, iou, change in zip(
        matched.image, matched.reference, matched.candidate, matched.iou, np.abs(matched.score_change), strict=True
    ):
        a, b = ours[image].boxes[mine], theirs[image].boxes[other]
        box = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])]).astype(np.float64)
        kind = "moved" if 1 - iou >= change else "rescored"
        entries.append(WorstImage(int(image), float(max(1 - iou, change)), kind, box))
    known = set(zip(matched.image.tolist(), matched.reference.tolist(), strict=True))
    for image, faces in enumerate(ours):
        for face in np.flatnonzero(faces.scores >= score_threshold).tolist():
            if (image, face) not in known:
                entries.append(WorstImage(image, 1.0, missing, faces.boxes[face].astype(np.float64)))
    return entries
