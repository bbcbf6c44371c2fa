"""Compares dlib's HOG face detector with an engine: faces found and images per second on the same photos.

    python -m benchmarks.compare_dlib --engine FILE [--labels FILE] [--json FILE] PHOTO...

Both are timed from the decoded image to the list of faces. They take turns, so that load on the machine slows both.
dlib runs on one core; the engine uses all cores of its device. `taskset -c 0` limits both to one core.
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
from engine.images import read_image
from engine.inputs import as_image
from engine.metrics.matching import box_iou, take_greedily
from engine.pictures.labels import boxes_of, read_labels
from engine.types import FloatArray, Image
from engine.writing import write_file

# Low, because detectors and labels disagree about where a face ends; neighbouring faces overlap less than this.
MATCH_IOU = 0.35

Detector = Callable[[Image], NDArray[Any]]


@dataclass(frozen=True)
class Result:
    """The result of one detector on all photos.

    Attributes:
        name: name of the detector.
        images_per_second: median over the rounds.
        slowest: images per second of the slowest round.
        fastest: images per second of the fastest round.
        faces: number of faces found in all photos.
        labelled: number of labelled faces found; None without labels.
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
    """Run each detector once over the images to warm up and to count faces; then time the detectors in turns.

    Args:
        detectors: detectors by name.
        images: BGR photos.
        labels: boxes of the labelled faces of each photo, or None.
        rounds: timed passes over all images.
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
            else sum(
                int((take_greedily(box_iou(*pair), MATCH_IOU) >= 0).sum()) for pair in zip(boxes, labels, strict=True)
            ),
        )
        for name, boxes in found.items()
    ]


def dlib_detector(upsample: int) -> Detector:
    """Return dlib.get_frontal_face_detector(), which doubles the size of each picture `upsample` times first.

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
    parser.add_argument("--device", default="auto", help="device of the engine (default %(default)s)")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="labelled faces: a JSON line for each photo, by its path or file name",
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
            write_file(arguments.json, (json.dumps(content, indent=2) + "\n").encode())
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
            images.append(as_image(read_image(path), "it"))
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
