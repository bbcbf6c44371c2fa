"""The accuracy of the measured engines, on the same pictures: speed at the price of missed faces is no gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.bench.load.workload import Picture
from engine.evaluate.comparison import Detector
from engine.faces import Detections
from engine.images import decode_image
from engine.metrics.agreement import Agreement, agreement
from engine.metrics.average_precision import average_precision
from engine.types import DEFAULT_SCORE_THRESHOLD


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of one engine on the pictures that were sent.

    Attributes:
        pictures: number of pictures.
        labels: number of labelled faces in them; None without labels.
        average_precision: against the labels, at IoU 0.5; None without labelled faces.
        agreement: with the reference engine; None without one.
    """

    pictures: int
    labels: int | None
    average_precision: float | None
    agreement: Agreement | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "agreement": None if self.agreement is None else self.agreement.to_dict()}


def accuracy(
    detectors: Mapping[str, Detector],
    reference: Detector | None,
    pictures: Sequence[Picture],
    *,
    floor: float,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, Accuracy]:
    """Compare the detectors' faces with the labels, if all pictures have them, and with a reference's faces.

    Args:
        detectors: by name.
        reference: a trusted detector, or None.
        pictures: to detect in, one in memory at a time.
        floor: lowest score of the faces that are compared; average precision also needs low scores.
        on_picture: called after each picture.
    """
    everybody = {**detectors, **({} if reference is None else {_REFERENCE: reference})}
    found: dict[str, list[Detections]] = {name: [] for name in everybody}
    for picture in pictures:
        image = decode_image(picture.content)
        for name, detector in everybody.items():
            found[name] += detector.detect([image], score_threshold=floor)
        on_picture()
    known = [picture.boxes for picture in pictures if picture.boxes is not None]
    truth = known if len(known) == len(pictures) else None
    labels = None if truth is None else sum(map(len, truth))
    threshold = max(DEFAULT_SCORE_THRESHOLD, floor)
    return {
        name: Accuracy(
            len(pictures),
            labels,
            None if truth is None else average_precision(truth, found[name]),
            None
            if reference is None
            else agreement(found[_REFERENCE], found[name], score_threshold=threshold, thresholds=(threshold,)),
        )
        for name in detectors
    }


_REFERENCE = "\0reference"  # no file has this name
