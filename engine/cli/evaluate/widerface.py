"""`retinaface-trt evaluate widerface`: measures average precision on WIDER FACE's validation set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from engine.cli.arguments import add_device_options, check_outputs, require_packages
from engine.cli.terminal import note, shown
from engine.errors import EvaluationError, InvalidArgumentError
from engine.writing import write_file

if TYPE_CHECKING:
    from engine.evaluate.widerface.files import GroundTruth
    from engine.evaluate.widerface.protocol import Curve

_DEVICE, _SCALE_RULE = "auto", "original"
SUMMARY = "print WIDER FACE's average precision (easy, medium, hard)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--ground-truth", type=Path, required=True, metavar="DIR",
        help="folder with wider_face_val.mat and wider_{easy,medium,hard}_val.mat")  # fmt: skip
    add("--predictions", type=Path, required=True, metavar="DIR",
        help="EVENT/IMAGE.txt in the official format; with --root they are written here, to resume")  # fmt: skip
    add("--root", type=Path, metavar="DIR", help="images to run an engine on: EVENT/IMAGE.jpg, or WIDER_val above them")
    add("--engine", type=Path, metavar="FILE", help="built engine, with --root")
    add("--partial", action="store_true", help="judge only the images that are in --root or, without it, those that "
        "have predictions; published figures are of all")  # fmt: skip
    add("--scale-rule", metavar="RULE",
        help="size of the images: original, mxnet (short side 1200), mxnet-1600, vga (long side 640) or multiscale "
        f"(with mirrored views and voting) (default {_SCALE_RULE})")  # fmt: skip
    add("--score-threshold", type=float, metavar="S", help="write the faces with a score above it (default 0.02)")
    add_device_options(parser, default=None)
    add("--json", type=Path, metavar="FILE", help="write the average precision of easy, medium and hard")
    add("--plot", type=Path, metavar="FILE", help="write the precision-recall curves (.png, .svg, .pdf)")


def run(arguments: argparse.Namespace) -> int:
    """Run the engine if images are given, then evaluate the folder of predictions."""
    from engine.evaluate.report.curves import check_plot_path
    from engine.evaluate.widerface.files import read_ground_truth, read_predictions
    from engine.evaluate.widerface.protocol import evaluate
    from engine.evaluate.widerface.units import hint_at_units

    if (arguments.root is None) != (arguments.engine is None):
        raise InvalidArgumentError(
            "--root and --engine belong together: give both, or neither to evaluate existing predictions"
        )
    _refuse_without_root(arguments)
    require_packages("scipy")
    if arguments.plot:
        require_packages("matplotlib")
        check_plot_path(arguments.plot)
    check_outputs([path for path in (arguments.json, arguments.plot) if path])
    truth = read_ground_truth(arguments.ground_truth)
    if arguments.partial:
        truth = _part(arguments, truth)
    if arguments.root:
        _predict(arguments, truth.names)
    predictions = read_predictions(arguments.predictions, truth.names)
    curves = evaluate(truth, predictions)
    if (hint := hint_at_units(truth, predictions)) is not None:
        note(f"warning: {hint}")
    _write(arguments, curves)
    table = Table("subset", "faces", "average precision", box=None)
    for name, curve in curves.items():
        table.add_row(name, str(curve.faces), f"{curve.average_precision:.4f}")
    Console().print(table)
    return 0


def _refuse_without_root(arguments: argparse.Namespace) -> None:
    """Refuse options of running an engine if none is run: they would seem to describe the predictions."""
    given = {
        "--device": arguments.device is not None,
        "--scale-rule": arguments.scale_rule is not None,
        "--score-threshold": arguments.score_threshold is not None,
        "--trust-embedded-plugins": arguments.trust_embedded_plugins,
    }
    first = next((option for option, is_given in given.items() if is_given), None)
    if first and arguments.root is None:
        raise InvalidArgumentError(
            f"{first} is for running an engine, but none is run: give --root and --engine too, or leave it out to "
            "evaluate existing predictions"
        )


def _part(arguments: argparse.Namespace, truth: GroundTruth) -> GroundTruth:
    """Return the ground truth of the images that are there; say how many these are."""
    from engine.evaluate.widerface.files import predicted_names
    from engine.evaluate.widerface.run import present_names

    if arguments.root:
        where, names = arguments.root, present_names(arguments.root, truth.names)
    else:
        where, names = arguments.predictions, predicted_names(arguments.predictions, truth.names)
    if not names:
        raise EvaluationError(f"{where} has none of the {len(truth.names)} images, EVENT/IMAGE of the ground truth")
    note(f"judging {len(names)} of {len(truth.names)} images")
    return truth.part(names)


def _predict(arguments: argparse.Namespace, names: tuple[str, ...]) -> None:
    from engine.detector import TRTRetinaFace
    from engine.evaluate.widerface.run import SCORE_THRESHOLD, check_input_range, find_images, predict, scale_rule

    rule_name = arguments.scale_rule or _SCALE_RULE
    rule = scale_rule(rule_name)
    images = find_images(arguments.root, names)
    detector = TRTRetinaFace(
        arguments.engine,
        arguments.device or _DEVICE,
        score_threshold=SCORE_THRESHOLD if arguments.score_threshold is None else arguments.score_threshold,
        trust_embedded_plugins=arguments.trust_embedded_plugins,
    )
    console = Console(stderr=True)
    check_input_range(detector, rule, track(images, "Checking the images' sizes", console=console, transient=True))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"Detecting on {detector.device}", total=len(images))
        count = predict(
            detector,
            images,
            names,
            arguments.predictions,
            rule_name=rule_name,
            on_image=lambda: progress.advance(task),
        )
    line = (
        f"Scale rule {rule_name} ({rule.summary}): {count} images run, {len(images) - count} taken from "
        f"{arguments.predictions}."
    )
    console.print(shown(line), soft_wrap=True)


def _write(arguments: argparse.Namespace, curves: dict[str, Curve]) -> None:
    from engine.evaluate.report.curves import plot_precision_recall

    if arguments.json:
        numbers = {name: curve.average_precision for name, curve in curves.items()}
        write_file(arguments.json, (json.dumps(numbers, indent=2) + "\n").encode())
    if arguments.plot:
        write_file(arguments.plot, plot_precision_recall(curves, "WIDER FACE validation", arguments.plot.suffix))
