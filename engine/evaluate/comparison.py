"""Compares several engines with a reference engine over the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.errors import InvalidArgumentError
from engine.evaluate.worst import WorstImage, worst_images
from engine.faces import Detections
from engine.images import read_image
from engine.inputs import as_image
from engine.metrics.agreement import SCORE_THRESHOLDS, Agreement, agreement
from engine.metrics.classes import ClassTable, class_table
from engine.metrics.heads import HeadErrors, HeadLabels, head_errors
from engine.pictures.labels import boxes_of, label_names, require_labels
from engine.types import DEFAULT_SCORE_THRESHOLD, FloatArray, Image, IntArray

_T = TypeVar("_T")


class Detector(Protocol):
    """The common part of TRTRetinaFace and NetworkDetector."""

    @property
    def runtime(self) -> str:
        """Name and version of the library that runs the network."""

    def detect(self, images: list[Image], *, score_threshold: float | None = None) -> list[Detections]:
        """Return the faces of each image."""


@dataclass(frozen=True)
class PictureSet:
    """The pictures that engines are compared on.

    Attributes:
        folder: pictures are named by their path relative to it.
        paths: of the pictures.
        labels: boxes by name of the picture; None without labels.
        classes: numbers of the labelled faces' classes, as `labels`; None without.
        class_names: of these classes, which the detectors have.
        heads: the labelled faces' points and values of heads that the detectors have, as `labels`; None without.
    """

    folder: Path
    paths: Sequence[Path]
    labels: Mapping[str, FloatArray] | None = None
    classes: Mapping[str, IntArray] | None = None
    class_names: tuple[str, ...] = ()
    heads: Mapping[str, HeadLabels] | None = None

    def names(self) -> list[str]:
        """Name each picture."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Compared:
    """One engine compared with the reference.

    Attributes:
        name: of the engine.
        measured_with: runtimes of the reference and of this engine, once if they are the same.
        faces: its faces in each picture, down to low scores.
        agreement: with the reference.
        worst: the pictures where it differs most, worst first.
        classes: of its faces, against those of labels; None if there are none.
        head_errors: of its faces' points and values, against those of labels; None if there are none.
    """

    name: str
    measured_with: str
    faces: list[Detections]
    agreement: Agreement
    worst: tuple[WorstImage, ...]
    classes: ClassTable | None = None
    head_errors: HeadErrors | None = None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        folder: of the pictures.
        images: names of the compared pictures, relative to the folder.
        skipped: pictures that could not be read.
        reference: name of the reference.
        reference_faces: the reference's faces in each picture.
        engines: the compared engines.
        reference_classes: see Compared.
        reference_head_errors: see Compared.
    """

    folder: Path
    images: list[str]
    skipped: list[Skipped]
    reference: str
    reference_faces: list[Detections]
    engines: tuple[Compared, ...]
    reference_classes: ClassTable | None = None
    reference_head_errors: HeadErrors | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "images": len(self.images),
            "skipped": [asdict(entry) for entry in self.skipped],
            "reference": self.reference,
            **_labelled(self.reference_classes, self.reference_head_errors),
            "engines": [
                {
                    "name": engine.name,
                    "measured_with": engine.measured_with,
                    "agreement": engine.agreement.to_dict(),
                    **_labelled(engine.classes, engine.head_errors),
                    "worst": [entry.to_dict(self.images) for entry in engine.worst],
                }
                for engine in self.engines
            ],
        }


def _labelled(table: ClassTable | None, errors: HeadErrors | None) -> dict[str, Any]:
    classes = {} if table is None else {"classes": {**asdict(table), "accuracy": table.accuracy}}
    return classes if errors is None else {**classes, "head_errors": asdict(errors)}


def compare(
    detectors: Mapping[str, Detector],
    pictures: PictureSet,
    *,
    floor: float,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    num_worst: int = 8,
    on_image: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Run detectors over pictures, with one picture in memory at a time, and compare all with the first detector.

    Args:
        detectors: by name; the first is the reference.
        pictures: to detect in.
        floor: lowest score of the faces that are compared.
        score_threshold: the detectors have to find the reference's faces of at least this score.
        num_worst: number of worst pictures for each engine.
        on_image: called with the name of each picture before it is read.

    Raises:
        InvalidArgumentError: no picture can be read, labels lack a picture, or a score is out of range.
    """
    if not floor <= score_threshold <= 1.0:
        raise InvalidArgumentError(
            f"score threshold is {score_threshold}, expected {floor} to 1: an engine drops faces below {floor}"
        )
    truth: dict[str, FloatArray] | None = None
    if pictures.labels is not None:
        all_names = pictures.names()
        truth = dict(zip(all_names, require_labels(all_names, boxes_of(pictures.labels, all_names)), strict=True))
    names: list[str] = []
    skipped: list[Skipped] = []
    found: dict[str, list[Detections]] = {name: [] for name in detectors}
    for path, name in zip(pictures.paths, pictures.names(), strict=True):
        on_image(name)
        try:
            image = as_image(read_image(path), "the picture")
        except InvalidArgumentError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        names.append(name)
        for detector_name, detector in detectors.items():
            found[detector_name] += detector.detect([image], score_threshold=floor)
    if not names:
        first = f"{skipped[0].image} {skipped[0].reason}" if skipped else "none were given"
        raise InvalidArgumentError(f"none of the {len(pictures.paths)} pictures can be read: {first}")
    reference, *others = detectors
    thresholds = sorted({t for t in SCORE_THRESHOLDS if t >= floor} | {score_threshold})
    boxes = None if truth is None else [truth[name] for name in names]

    def judged(detector: str) -> tuple[ClassTable | None, HeadErrors | None]:
        return (None, None) if boxes is None else _judged(pictures, names, boxes, found[detector], score_threshold)

    return Comparison(
        pictures.folder,
        names,
        skipped,
        reference,
        found[reference],
        tuple(
            Compared(
                name,
                " and ".join(dict.fromkeys(detectors[one].runtime for one in (reference, name))),
                found[name],
                agreement(
                    found[reference],
                    found[name],
                    labels=boxes,
                    score_threshold=score_threshold,
                    thresholds=thresholds,
                ),
                worst_images(found[reference], found[name], score_threshold, num_worst),
                *judged(name),
            )
            for name in others
        ),
        *judged(reference),
    )


def _judged(
    pictures: PictureSet,
    names: Sequence[str],
    boxes: Sequence[FloatArray],
    faces: Sequence[Detections],
    score_threshold: float,
) -> tuple[ClassTable | None, HeadErrors | None]:
    """Compare a detector's faces in pictures of these names with what labels say besides their boxes."""
    classes, errors = None, None
    if pictures.classes is not None:
        numbers = _of(pictures.classes, names)
        classes = class_table(boxes, numbers, faces, pictures.class_names, score_threshold=score_threshold)
    if pictures.heads is not None:
        errors = head_errors(boxes, _of(pictures.heads, names), faces, score_threshold=score_threshold)
    return classes, errors


def _of(labels: Mapping[str, _T], names: Sequence[str]) -> list[_T]:
    """Return what labels say of pictures, all of which have a label."""
    return [labels[label] for label in label_names(labels, names) if label is not None]
