"""`retinaface-trt build`, and build_engine.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.build.pipeline import PRECISIONS, BuildOptions, BuildReport, build_engine
from engine.build.targets import TARGET_CHOICES
from engine.config import PRESETS, preset
from engine.export.attach import Thresholds
from engine.export.network import InputSize

SUMMARY = "build an engine from a checkpoint"
_ANY_WIDTH = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a build."""
    defaults, thresholds = BuildOptions(), Thresholds()
    add = parser.add_argument
    # Values are checked by the builder, whose messages say more than argparse's.
    add("--precision", default=defaults.precision, help=f"{', '.join(PRECISIONS)} (default %(default)s)")
    add("--config", default=defaults.config, help=f"model: {', '.join(PRESETS)} (default %(default)s)")
    add("--weights", metavar="FILE|NAME", help="checkpoint, or the name of published weights, or 'random'")
    add("--input-size", type=int, nargs=2, metavar=("H", "W"),
        help="height and width of the network's input (default: the model's, 640 640 for most)")  # fmt: skip
    add("--min-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes from this one")
    add("--max-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes up to this one")
    add("--max-batch", type=int, default=defaults.max_batch, help="images in one run (default %(default)s)")
    add("--runtime", default=defaults.runtime, help="auto, tensorrt or tensorrt-rtx (default %(default)s)")
    add("--target", action="append", default=[], metavar="ARCH",
        help=f"GPU architecture, repeatable: {', '.join(TARGET_CHOICES)} (TensorRT-RTX; default portable)")  # fmt: skip
    add("--score-threshold", type=float, default=thresholds.score,
        help="the engine leaves out faces below it (default %(default)s)")  # fmt: skip
    add("--iou-threshold", type=float, default=thresholds.iou, help="of the suppression (default %(default)s)")
    add("--top-k", type=int, default=thresholds.top_k, help="candidates before suppression (default %(default)s)")
    add("--max-detections", type=int, default=thresholds.max_detections, help="faces a picture (default %(default)s)")
    add("--voting", action=argparse.BooleanOptionalAction, default=thresholds.voting,
        help="average the boxes that a face suppresses into its own")  # fmt: skip
    add("--embed-plugins", action=argparse.BooleanOptionalAction, default=defaults.embed_plugins,
        help="put the plugin library into the engine: one self-contained file")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="path of the engine (default retinaface_PRECISION.engine)")


def run(arguments: argparse.Namespace) -> int:
    """Build, showing each stage, and print what was built."""
    size = tuple(arguments.input_size or preset(arguments.config).input_size)
    options = BuildOptions(
        precision=arguments.precision,
        config=arguments.config,
        weights=arguments.weights,
        size=InputSize(tuple(arguments.min_input_size or size), size, tuple(arguments.max_input_size or size)),
        max_batch=arguments.max_batch,
        runtime=arguments.runtime,
        targets=tuple(arguments.target),
        thresholds=Thresholds(
            score=arguments.score_threshold,
            iou=arguments.iou_threshold,
            top_k=arguments.top_k,
            max_detections=arguments.max_detections,
            voting=arguments.voting,
        ),
        embed_plugins=arguments.embed_plugins,
        output=arguments.output,
    )
    progress = Console(stderr=True)
    with progress.status("Starting") as status:

        def show(stage: str) -> None:
            progress.print(Text(f"{stage} ..."), soft_wrap=True)
            status.update(stage)

        report = build_engine(options, show)
    _print(report)
    return 0


def _print(report: BuildReport) -> None:
    sidecar = report.sidecar
    # Without borders and at full width: a long path stays whole, to be copied.
    table = Table(show_header=False, box=None)
    embedded = "inside the engine" if sidecar.plugins["embedded"] else "loaded from this installation"
    for name, value in (
        ("model", f"{sidecar.config['name']}, weights {sidecar.weights['source']}"),
        ("precision", sidecar.precision["mode"]),
        ("layers", str(report.plan.num_layers)),
        ("plugins", f"{', '.join(report.plan.plugins)} ({embedded})"),
        ("runtime", f"{sidecar.runtime['name']} {sidecar.runtime['version']}"),
        ("targets", ", ".join(sidecar.targets)),
        ("size", f"{len(report.plan.data) / 1e6:.2f} MB"),
        ("seconds", f"{report.seconds:.1f}"),
        *(("files" if i == 0 else "", str(path)) for i, path in enumerate(report.files)),
    ):
        table.add_row(name, Text(value))
    console = Console(width=_ANY_WIDTH)
    console.print(table)
