"""`retinaface-trt evaluate thresholds`: precision, recall and F1 at many thresholds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from engine.cli.arguments import add_device_options, check_outputs, require_packages
from engine.errors import EngineLoadError, EvaluationError, InvalidArgumentError
from engine.writing import write_file

if TYPE_CHECKING:
    from engine.evaluate.sweep.candidates import Candidates
    from engine.evaluate.sweep.thresholds import Row

SUMMARY = "show precision and recall over the thresholds, on labelled pictures"
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--labels", type=Path, required=True, metavar="FILE",
        help='as `detect` prints them: {"image": NAME, "faces": [{"box": [x1, y1, x2, y2]}]}')  # fmt: skip
    add("--candidates", type=Path, required=True, metavar="FILE",
        help="candidates before suppression (.npz): read if the file exists, else written")  # fmt: skip
    add("--engine", type=Path, metavar="FILE", help="built engine that finds the candidates")
    add("--images", type=Path, metavar="DIR", help="folder of the pictures (default: the current one)")
    add("--enlarge", action="store_true", help="enlarge pictures that are smaller than the network's input")
    add_device_options(parser)
    add("--iou-threshold", type=float, nargs="+", metavar="T", help="of the suppression (default 0.3 0.4 0.5 0.6)")
    add("--score-threshold", type=float, nargs="+", metavar="S", help="score thresholds (default 0.02 0.04 ... 0.98)")
    add("--top-k", type=int, nargs="+", metavar="K", help="largest number of candidates per picture (default 5000)")
    add("--keep-top-k", type=int, nargs="+", metavar="K", help="largest number of faces per picture (default 750)")
    add("--match-iou", type=float, metavar="T", help="smallest IoU of a box and the face that it finds (default 0.5)")
    add("--json", type=Path, metavar="FILE", help="write all rows and the best one")
    add("--plot", type=Path, metavar="FILE", help="write precision, recall and F1 as curves (.png, .svg, .pdf)")


def run(arguments: argparse.Namespace) -> int:
    """Find candidates unless they are stored, sweep the thresholds, and print the settings with the best F1."""
    from engine.evaluate.report.curves import check_plot_path, plot_thresholds
    from engine.evaluate.sweep.thresholds import Grid, best, sweep
    from engine.pictures.labels import read_labels

    if arguments.plot:
        require_packages("matplotlib")
        check_plot_path(arguments.plot)
    check_outputs([path for path in (arguments.candidates, arguments.json, arguments.plot) if path])
    given = {
        "iou": arguments.iou_threshold,
        "score": arguments.score_threshold and sorted(arguments.score_threshold),
        "top_k": arguments.top_k,
        "keep_top_k": arguments.keep_top_k,
        "match_iou": arguments.match_iou,
    }
    grid = Grid(**{name: value for name, value in given.items() if value is not None})
    labels = read_labels(arguments.labels)
    rows = sweep(_candidates(arguments, labels), labels, grid)
    if arguments.json:
        content = {"best": best(rows).to_dict(), "rows": [row.to_dict() for row in rows]}
        write_file(arguments.json, (json.dumps(content, indent=1) + "\n").encode())
    if arguments.plot:
        write_file(arguments.plot, plot_thresholds(rows, arguments.plot.suffix))
    _print(rows)
    return 0


def _candidates(arguments: argparse.Namespace, names: Iterable[str]) -> Candidates:
    from engine.evaluate.sweep.candidates import Candidates, collect

    path = arguments.candidates
    images = {name: _locate(arguments.images or Path(), name) for name in names}
    if path.is_file():
        stored = Candidates.load(path)
        _check_stored(arguments, stored, images)
        return stored
    if not arguments.engine:
        raise InvalidArgumentError(f"{path} does not exist: give --engine to find candidates with")
    missing = [str(image) for image in images.values() if not image.is_file()]
    if missing:
        raise EvaluationError(f"{len(missing)} of {len(images)} pictures are missing, the first is {missing[0]}")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Finding candidates", total=len(images))
        found = collect(
            arguments.engine,
            images,
            device=arguments.device,
            trust_embedded_plugins=arguments.trust_embedded_plugins,
            enlarge=arguments.enlarge,
            on_image=lambda: progress.advance(task),
        )
    found.save(path)
    return found


def _check_stored(arguments: argparse.Namespace, stored: Candidates, images: Mapping[str, Path]) -> None:
    """Refuse stored candidates of another engine, setting or picture."""
    from engine.files import sha256_of_file
    from engine.sidecar import engine_sha256

    def refuse(what: str) -> NoReturn:
        raise EvaluationError(f"{arguments.candidates} holds candidates {what}: name another file, or remove it")

    if arguments.engine:
        try:
            digest = engine_sha256(arguments.engine)
        except OSError as error:
            raise EngineLoadError(f"the engine {arguments.engine} cannot be read: {error.strerror}") from error
        if digest != stored.engine_sha256:
            refuse(f"of another engine than {arguments.engine}")
    if (arguments.engine or arguments.enlarge) and arguments.enlarge != stored.enlarge:
        refuse(f"that were found with{'' if stored.enlarge else 'out'} --enlarge")
    if arguments.engine or arguments.images:
        for name, path in images.items():
            if name in stored.image_sha256 and path.is_file() and sha256_of_file(path) != stored.image_sha256[name]:
                refuse(f"of another picture than {path}")


def _locate(folder: Path, name: str) -> Path:
    """Return the picture of a label: by its name, else by its file name, as labels may come from another folder."""
    path = folder / name
    return path if path.is_file() else folder / path.name


def _print(rows: list[Row]) -> None:
    table = Table("IoU", "top_k", "keep_top_k", "score", "precision", "recall", "F1", box=None, title="best by F1")
    for row in sorted(rows, key=lambda row: -row.f1)[:_SHOWN]:
        how = row.suppression
        table.add_row(
            *(f"{value:g}" for value in (how.iou, how.top_k, how.keep_top_k, row.score_threshold)),
            *(f"{value:.4f}" for value in (row.precision, row.recall, row.f1)),
        )
    Console().print(table)
