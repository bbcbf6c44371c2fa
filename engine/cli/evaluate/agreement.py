"""`retinaface-trt evaluate agreement`: compares the faces of engines with those of a reference."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from engine.cli.arguments import add_device_options, check_outputs, describe, name_engines, require_packages
from engine.cli.terminal import as_markup, shown
from engine.errors import InvalidArgumentError
from engine.text import printable
from engine.types import DEFAULT_SCORE_THRESHOLD
from engine.writing import write_file

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace
    from engine.evaluate.comparison import Comparison

_log = logging.getLogger("engine")

SUMMARY = "compare the faces of engines with those of a reference, such as the same model in fp32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="FILE", help="engine to compare with")
    add("--engine", type=Path, required=True, action="append", metavar="FILE", help="engine to compare, repeatable")
    add("--images", type=Path, required=True, metavar="DIR", help="folder of pictures, of any sizes")
    add("--labels", type=Path, metavar="FILE",
        help="labelled faces of every picture, in JSON lines as `retinaface-trt detect` prints them")  # fmt: skip
    add("--score-threshold", type=float, default=DEFAULT_SCORE_THRESHOLD, metavar="S",
        help="engines have to find the reference's faces of at least this score (default %(default)s)")  # fmt: skip
    add("--worst", type=int, default=8, metavar="N", help="number of worst pictures to show (default %(default)s)")
    add_device_options(parser)
    add("--json", type=Path, metavar="FILE", help="write the measures to this file")
    add("--html", type=Path, metavar="FILE", help="write a page with plots and the worst pictures to this file")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print a table and write the requested files."""
    require_packages("scipy", *(["matplotlib"] if arguments.html else []))
    outputs = [path for path in (arguments.json, arguments.html) if path is not None]
    check_outputs(outputs)
    if arguments.worst < 0:
        raise InvalidArgumentError(f"--worst is {arguments.worst}, expected 0 or more")

    from engine.detector import TRTRetinaFace
    from engine.evaluate.comparison import PictureSet, compare
    from engine.images import list_images
    from engine.pictures.classes import read_classes
    from engine.pictures.heads import read_heads
    from engine.pictures.labels import read_labels

    labels = None if arguments.labels is None else read_labels(arguments.labels)
    paths = list_images(arguments.images)
    detectors = {
        name: TRTRetinaFace(path, arguments.device, trust_embedded_plugins=arguments.trust_embedded_plugins)
        for name, path in name_engines([arguments.reference, *arguments.engine]).items()
    }
    _warn_of_other_settings(detectors)
    configs = [detector.config for detector in detectors.values()]
    classes, heads, names = None, None, configs[0].classes
    if labels is not None:
        if len(names) > 1 and all(config.classes == names for config in configs):
            classes = read_classes(arguments.labels, names)
        points = configs[0].num_points if len({config.num_points for config in configs}) == 1 else 0
        values = [head for head in configs[0].values if all(head in config.values for config in configs)]
        heads = read_heads(arguments.labels, points, values, _log.warning)
    pictures = PictureSet(arguments.images, paths, labels, classes, names, heads)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Comparing", total=len(pictures.paths))

        def advance(name: str) -> None:
            progress.update(task, advance=1, description=f"Comparing {as_markup(name)}")

        comparison = compare(
            detectors,
            pictures,
            floor=max(detector.sidecar.thresholds.score for detector in detectors.values()),
            score_threshold=arguments.score_threshold,
            num_worst=arguments.worst,
            on_image=advance,
        )
    details = {name: describe(detector) for name, detector in detectors.items()}
    _print(comparison, details)
    runtimes = {name: f"{detector.runtime}, on {detector.device}" for name, detector in detectors.items()}
    _write(arguments, comparison, details, runtimes)
    return 0


def _warn_of_other_settings(detectors: dict[str, TRTRetinaFace]) -> None:
    """Warn if an engine differs from the reference in more than its precision: the figures then show that too."""
    (reference, first), *others = detectors.items()
    for name, detector in others:
        differing = [
            setting
            for setting, ours, theirs in (
                ("config", first.config, detector.config),
                ("weights", first.sidecar.weights, detector.sidecar.weights),
                ("input size", first.input_size, detector.input_size),
                ("thresholds", first.sidecar.thresholds, detector.sidecar.thresholds),
            )
            if ours != theirs
        ]
        if differing:
            names = printable(name), printable(reference)
            _log.warning("%s differs from %s in more than its precision: %s.", *names, ", ".join(differing))


def _print(comparison: Comparison, details: dict[str, str]) -> None:
    from engine.evaluate.report.table import rows

    console = Console(soft_wrap=True, highlight=False)
    for name, text in details.items():
        console.print(shown(f"{name}: {text}"))
    for entry in comparison.skipped:
        console.print(shown(f"skipped {entry.image}: {entry.reason}", "yellow"))
    console.print(shown(f"{len(comparison.images)} pictures, reference {comparison.reference}"))
    table = Table("", *(as_markup(engine.name) for engine in comparison.engines), box=None)
    for name, values in rows(comparison):
        table.add_row(*(shown(cell) for cell in (name, *values)))
    Console(width=max(console.width, 120)).print(table)


def _write(
    arguments: argparse.Namespace, comparison: Comparison, details: dict[str, str], runtimes: dict[str, str]
) -> None:
    if arguments.json is not None:
        values: dict[str, Any] = {**comparison.to_dict(), "details": details, "runtimes": runtimes}
        write_file(arguments.json, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())
    if arguments.html is not None:
        from engine.evaluate.report.write import html_report

        write_file(arguments.html, html_report(comparison, details).encode())
