"""`retinaface-trt export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.build.onnx_file import PORTABLE_PRECISIONS, ExportOptions, export_onnx
from engine.cli.arguments import add_network_options, network_options
from engine.cli.terminal import ANY_WIDTH, shown
from engine.config.files import find_config
from engine.export.suppression import SUPPRESSIONS
from engine.progress import stages_shown

SUMMARY = "write one file that other programs can run, from pixels to faces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an export."""
    defaults = ExportOptions()
    add = parser.add_argument
    add("--format", choices=("onnx",), default="onnx", help="onnx: standard operators only (default %(default)s)")
    add_network_options(parser, PORTABLE_PRECISIONS, defaults.precision)
    add("--suppression", default=defaults.suppression,
        help=f"{', '.join(SUPPRESSIONS)}: by NonMaxSuppression, or by a Loop, which TensorRT-RTX needs "
        "(default %(default)s)")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="path of the file (default retinaface_PRECISION.onnx)")


def run(arguments: argparse.Namespace) -> int:
    """Export, showing each stage, and print what was written."""
    options = ExportOptions(**network_options(arguments), suppression=arguments.suppression, output=arguments.output)
    with stages_shown() as show:
        detector = export_onnx(options, show)
    table = Table(show_header=False, box=None)
    for name, value in (
        ("model", find_config(options.config).name),
        ("precision", options.precision),
        ("operators", f"opset {detector.opset_import[0].version}, {len(detector.graph.node)} nodes"),
        ("size", f"{options.path().stat().st_size / 1e6:.2f} MB"),
        ("file", str(options.path())),
    ):
        table.add_row(name, shown(value))
    Console(width=ANY_WIDTH).print(table)
    return 0
