"""`retinaface-trt detect`: prints one line of JSON per picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from engine.cli.arguments import add_device_options, check_file_name, check_folder
from engine.cli.terminal import note
from engine.errors import InvalidArgumentError, OutputError
from engine.types import DEFAULT_SCORE_THRESHOLD
from engine.writing import write_file

SUMMARY = "find faces in pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a detection."""
    add = parser.add_argument
    add("--engine", type=Path, required=True, metavar="FILE", help="built engine")
    add("--threads", type=int, metavar="N", help="largest number of CPU threads (default: all cores)")
    add("--score-threshold", type=float, metavar="S",
        help=f"show faces with a score above it (default {DEFAULT_SCORE_THRESHOLD})")  # fmt: skip
    add_device_options(parser)
    add("--annotate", type=Path, metavar="DIR", help="write each picture with its faces marked to this folder, as PNG")
    add("images", type=Path, nargs="+", metavar="IMAGE", help="picture file")


def run(arguments: argparse.Namespace) -> int:
    """Print the faces of each picture; name unreadable pictures on stderr, and return 1 if there are any."""
    import cv2

    from engine.detector import TRTRetinaFace
    from engine.images import read_image

    targets = _annotation_paths(arguments.images, arguments.annotate)
    detector = TRTRetinaFace(
        arguments.engine,
        arguments.device,
        score_threshold=arguments.score_threshold,
        threads=arguments.threads,
        trust_embedded_plugins=arguments.trust_embedded_plugins,
    )
    failed = 0
    for path in arguments.images:
        try:
            image = read_image(path)
            faces = detector.detect(image)
            if targets:
                write_file(targets[path], cv2.imencode(".png", faces.plot(image))[1].tobytes())
        except (InvalidArgumentError, OutputError, cv2.error) as error:
            note(f"error: {path}: {error}")
            failed += 1
        else:
            print(json.dumps({"image": str(path), **faces.to_json()}), flush=True)
    return 1 if failed else 0


def _annotation_paths(images: list[Path], folder: Path | None) -> dict[Path, Path]:
    """Return the output path of each picture; refuse paths that would overwrite another output or a source."""
    if folder is None:
        return {}
    check_folder(folder)
    targets: dict[Path, Path] = {}
    for image in dict.fromkeys(images):
        target = folder / f"{image.stem}.png"
        if target in targets.values() or target.resolve() in {path.resolve() for path in images}:
            raise InvalidArgumentError(f"--annotate {folder}: {image} would overwrite {target}; choose another folder")
        check_file_name(target)
        targets[image] = target
    return targets
