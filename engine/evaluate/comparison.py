"""Several engines over the same pictures, compared with one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import InvalidArgumentError
from engine.evaluate.worst import WorstImage, worst_images
from engine.images import read_image
from engine.metrics.agreement import SCORE_THRESHOLDS, Agreement, agreement
from engine.metrics.average_precision import Boxes
from engine.pictures.labels import boxes_of
from engine.runtime.letterbox import check_image
from engine.types import DEFAULT_SCORE_THRESHOLD, Detections, FloatArray, Image


class Detector(Protocol):
    """What TRTRetinaFace and NetworkDetector have in common."""

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        """Return the faces of each image."""


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Compared:
    """One engine compared with the reference.

    Attributes:
        name: of the engine.
        faces: that it found in each picture, down to low scores.
        agreement: with the reference.
        worst: pictures where it differs most, the worst first.
    """

    name: str
    faces: list[Detections]
    agreement: Agreement
    worst: tuple[WorstImage, ...]


@dataclass(frozen=True)
class Comparison:
    """What compare gives.

    Attributes:
        folder: of the pictures.
        images: names of the pictures that were compared, relative to the folder.
        skipped: pictures that could not be read.
        reference: name of the reference.
        reference_faces: that it found in each picture.
        engines: the others.
    """

    folder: Path
    images: list[str]
    skipped: list[Skipped]
    reference: str
    reference_faces: list[Detections]
    engines: tuple[Compared, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "images": len(self.images),
            "skipped": [{"image": entry.image, "reason": entry.reason} for entry in self.skipped],
            "reference": self.reference,
            "engines": [
                {
                    "name": engine.name,
                    "agreement": engine.agreement.to_dict(),
                    "worst": [entry.to_dict(self.images) for entry in engine.worst],
                }
                for engine in self.engines
            ],
        }


def compare(
    detectors: Mapping[str, Detector],
    folder: Path,
    paths: Sequence[Path],
    *,
    labels: Mapping[str, FloatArray] | None = None,
    floor: float,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    num_worst: int = 8,
    on_image: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Run detectors over pictures, one picture in memory at a time, and compare all with the first.

    Args:
        detectors: by name; the first is the reference.
        folder: that names of pictures are relative to.
        paths: of the pictures.
        labels: boxes by name of the picture.
        floor: faces above this score are taken from every detector.
        score_threshold: from which a face of the reference is to be found by the others.
        num_worst: so many pictures are named for each engine.
        on_image: called with the name of each picture as its turn comes.

    Raises:
        InvalidArgumentError: no picture can be read, one has no labels, or a score is out of range.
    """
    if not floor <= score_threshold <= 1.0:
        raise InvalidArgumentError(
            f"score threshold is {score_threshold}, expected {floor} to 1: an engine leaves out faces below {floor}"
        )
    truth = None if labels is None else _truth(labels, folder, paths)
    names: list[str] = []
    skipped: list[Skipped] = []
    found: dict[str, list[Detections]] = {name: [] for name in detectors}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        on_image(name)
        try:
            image = check_image(read_image(path), "the picture")
        except InvalidArgumentError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        names.append(name)
        for detector_name, detector in detectors.items():
            found[detector_name] += detector.detect([image], score_threshold=floor)
    if not names:
        first = f"{skipped[0].image} {skipped[0].reason}" if skipped else "none were given"
        raise InvalidArgumentError(f"none of the {len(paths)} pictures can be read: {first}")
    reference, *others = detectors
    thresholds = sorted({t for t in SCORE_THRESHOLDS if t >= floor} | {score_threshold})
    boxes = None if truth is None else [truth[name] for name in names]
    return Comparison(
        folder,
        names,
        skipped,
        reference,
        found[reference],
        tuple(
            Compared(
                name,
                found[name],
                agreement(
                    found[reference],
                    found[name],
                    labels=boxes,
                    score_threshold=score_threshold,
                    thresholds=thresholds,
                ),
                worst_images(found[reference], found[name], score_threshold, num_worst),
            )
            for name in others
        ),
    )


def _truth(labels: Mapping[str, FloatArray], folder: Path, paths: Sequence[Path]) -> dict[str, Boxes]:
    names = [path.relative_to(folder).as_posix() for path in paths]
    truth: dict[str, Boxes] = {}
    missing = []
    for name, boxes in zip(names, boxes_of(labels, names), strict=True):
        if boxes is None:
            missing.append(name)
        else:
            truth[name] = boxes
    if missing:
        raise InvalidArgumentError(
            f"labels lack {len(missing)} of {len(names)} pictures, {missing[0]} for one: a picture without faces has a "
            'line with "faces": []'
        )
    return truth
