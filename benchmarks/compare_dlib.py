"""dlib's HOG face detector and an engine on the same photos: faces found and images per second, in one run.

    python -m benchmarks.compare_dlib --engine FILE [--labels FILE] [--json FILE] PHOTO...

Both are timed from the decoded picture to the list of faces, in turns, so that a machine that slows down slows both.
dlib runs on one core; the engine takes what its device gives: `taskset -c 0` leaves one core to both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from engine import InvalidArgumentError, RetinaFaceError, TRTRetinaFace
from engine.cli.arguments import check_outputs
from engine.evaluate.sweep.thresholds import matched
from engine.files import write_together
from engine.images import read_image
from engine.pictures.labels import boxes_of, read_labels
from engine.runtime.letterbox import check_image
from engine.types import FloatArray, Image

# Whose boxes end where differs between detectors and labels more than between a face and its neighbour.
MATCH_IOU = 0.35

Detector = Callable[[Image], NDArray[Any]]


@dataclass(frozen=True)
class Result:
    """One detector on all photos.

    Attributes:
        name: of the detector.
        images_per_second: median over the rounds.
        slowest: images per second of the slowest round.
        fastest: of the fastest.
        faces: found in all photos.
        labelled: labelled faces among them; None without labels.
    """

    name: str
    images_per_second: float
    slowest: float
    fastest: float
    faces: int
    labelled: int | None


def compare(
    detectors: dict[str, Detector], images: Sequence[Image], labels: Sequence[FloatArray] | None, rounds: int
) -> list[Result]:
    """Run each detector over the images once to warm up and to count, then in turns for time.

    Args:
        detectors: by name.
        images: photos.
        labels: faces of each, or None.
        rounds: passes over all images.
    """
    found = {name: [detect(image) for image in images] for name, detect in detectors.items()}
    rates: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(rounds):
        for name, detect in detectors.items():
            started = time.perf_counter()
            for image in images:
                detect(image)
            rates[name].append(len(images) / (time.perf_counter() - started))
    return [
        Result(
            name,
            statistics.median(rates[name]),
            min(rates[name]),
            max(rates[name]),
            sum(map(len, boxes)),
            None
            if labels is None
            else sum(int(matched(*pair, MATCH_IOU).sum()) for pair in zip(boxes, labels, strict=True)),
        )
        for name, boxes in found.items()
    ]


def dlib_detector(upsample: int) -> Detector:
    """dlib.get_frontal_face_detector() on pictures that are doubled in size `upsample` times.

    Raises:
        RetinaFaceError: dlib is not installed.
    """
    try:
        dlib = importlib.import_module("dlib")
    except ImportError as error:
        raise RetinaFaceError(f"dlib is not installed ({error}): pip install dlib-bin") from error
    detector = dlib.get_frontal_face_detector()

    def detect(image: Image) -> NDArray[Any]:
        found = detector(np.ascontiguousarray(image[..., ::-1]), upsample)
        return np.array([(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in found], float).reshape(-1, 4)

    return detect


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", default="auto", help="of the engine (default %(default)s)")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="labelled faces by the photos' names or file names, JSON lines"
    )
    parser.add_argument("--rounds", type=int, default=5, help="passes over all photos (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    arguments = parser.parse_args(argv)
    arguments.photos = list(dict.fromkeys(arguments.photos))
    try:
        results = _run(arguments)
        _print(results, len(arguments.photos))
        if arguments.json:
            content = {"cores": _cores(), "photos": len(arguments.photos), "results": [asdict(r) for r in results]}
            write_together({arguments.json: (json.dumps(content, indent=2) + "\n").encode()})
    except (RetinaFaceError, OSError) as error:
        print(f"compare_dlib: error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> list[Result]:
    if arguments.rounds < 1:
        raise InvalidArgumentError(f"--rounds is {arguments.rounds}, expected at least 1")
    detectors = {f"dlib HOG, upsample {n}": dlib_detector(n) for n in (0, 1)}
    check_outputs([arguments.json] if arguments.json else [])
    images = []
    for path in arguments.photos:
        try:
            images.append(check_image(read_image(path), "it"))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{path} {error}") from error
    labels = _labels(arguments.labels, arguments.photos) if arguments.labels else None
    ours = TRTRetinaFace(arguments.engine, arguments.device)
    detectors[f"{arguments.engine.name} on {ours.device}"] = lambda image: ours.detect(image).boxes
    return compare(detectors, images, labels, arguments.rounds)


def _labels(file: Path, photos: Sequence[Path]) -> list[FloatArray]:
    labels = []
    for path, boxes in zip(photos, boxes_of(read_labels(file), [path.as_posix() for path in photos]), strict=True):
        if boxes is None:
            raise InvalidArgumentError(f"{file} has no line for {path}")
        labels.append(boxes)
    return labels


def _print(results: list[Result], photos: int) -> None:
    table = Table("detector", "images/s", "slowest", "fastest", "faces", "of the labelled", box=None)
    for r in results:
        rates = (f"{rate:.1f}" for rate in (r.images_per_second, r.slowest, r.fastest))
        table.add_row(r.name, *rates, str(r.faces), "-" if r.labelled is None else str(r.labelled))
    console = Console()
    console.print(table)
    console.print(f"{photos} photos, {_cores()} cores")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
