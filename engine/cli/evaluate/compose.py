"""`retinaface-trt evaluate compose`: generates pictures with labelled faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from engine.cli.arguments import check_folder
from engine.cli.terminal import note
from engine.errors import InvalidArgumentError
from engine.text import printable
from engine.writing import write_file

SUMMARY = "generate labelled test pictures from labelled photos"
LABELS = "labels.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="folder of photos with faces")
    add("--labels", type=Path, required=True, metavar="FILE",
        help="all faces of these photos, in JSON lines as `retinaface-trt detect` prints them")  # fmt: skip
    add("--backgrounds", type=Path, metavar="DIR", help="folder of pictures without faces (default: drawn textures)")
    add("--output", type=Path, required=True, metavar="DIR", help=f"new folder for the pictures and {LABELS}")
    add("--count", type=int, default=100, metavar="N", help="number of pictures (default %(default)s)")
    add("--size", type=int, nargs=2, default=[640, 640], metavar=("H", "W"), help="of each picture (default 640 640)")
    add("--seed", type=int, default=0, metavar="S", help="equal seeds give equal pictures (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write the pictures, then their labels."""
    import cv2

    from engine.pictures.compose import compose
    from engine.pictures.labels import label_line, read_labels
    from engine.pictures.photos import Pictures, labelled_photos

    _check_folder(arguments.output)
    labels = read_labels(arguments.labels)
    backgrounds = Pictures(arguments.backgrounds) if arguments.backgrounds else ()
    pictures = compose(
        labelled_photos(arguments.images, labels, say=note),
        backgrounds,
        arguments.count,
        tuple(arguments.size),
        arguments.seed,
    )
    lines = []
    console = Console(stderr=True)
    for index, composed in enumerate(track(pictures, "Composing", arguments.count, console=console, transient=True)):
        path = arguments.output / f"{index:06d}.png"
        write_file(path, cv2.imencode(".png", composed.image)[1].tobytes())
        lines.append(label_line(path.name, composed.boxes) + "\n")
    write_file(arguments.output / LABELS, "".join(lines).encode())
    print(printable(str(arguments.output / LABELS)))
    return 0


def _check_folder(folder: Path) -> None:
    check_folder(folder)
    if any(folder.iterdir()):
        raise InvalidArgumentError(f"--output {folder} is not empty: pictures of two runs would mix; choose another")
