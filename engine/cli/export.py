"""`retinaface-trt export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.build.onnx_file import PORTABLE_PRECISIONS, ExportOptions, export_onnx
from engine.cli.arguments import add_network_options, check_folder, network_options
from engine.cli.terminal import ANY_WIDTH, shown
from engine.config.files import find_config
from engine.errors import InvalidArgumentError
from engine.export.suppression import SUPPRESSIONS
from engine.progress import stages_shown
from engine.sidecar import read_engine
from engine.triton.configs import PLAN
from engine.triton.repository import START, write_repository

SUMMARY = "write what other programs can run, from pixels to faces: one ONNX file, or models for NVIDIA's Triton"
_FOR_TRITON = ("format", "engine", "output", "verbose", "run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an export."""
    defaults = ExportOptions()
    add = parser.add_argument
    add("--format", choices=("onnx", "triton"), default="onnx",
        help="onnx: one file of standard operators; triton: a model repository (default %(default)s)")  # fmt: skip
    add("--engine", type=Path, metavar="FILE", help="triton: the built engine, which has all other settings")
    add_network_options(parser, PORTABLE_PRECISIONS, defaults.precision)
    add("--suppression", default=defaults.suppression,
        help=f"{', '.join(SUPPRESSIONS)}: by NonMaxSuppression, or by a Loop, which TensorRT-RTX needs "
        "(default %(default)s)")  # fmt: skip
    add("--output", type=Path, metavar="FILE|FOLDER",
        help="path of the file (default retinaface_PRECISION.onnx); triton: of the new repository")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Export, showing each stage, and print what was written."""
    return _export_triton(arguments) if arguments.format == "triton" else _export_onnx(arguments)


def _export_onnx(arguments: argparse.Namespace) -> int:
    if arguments.engine is not None:
        raise InvalidArgumentError(
            "--engine is for --format triton; an ONNX file is made from weights: give --weights, or leave both out"
        )
    options = ExportOptions(**network_options(arguments), suppression=arguments.suppression, output=arguments.output)
    with stages_shown() as show:
        detector = export_onnx(options, show)
    _print(
        model=find_config(options.config).name,
        precision=options.precision,
        operators=f"opset {detector.opset_import[0].version}, {len(detector.graph.node)} nodes",
        size=f"{options.path().stat().st_size / 1e6:.2f} MB",
        file=str(options.path()),
    )
    return 0


def _export_triton(arguments: argparse.Namespace) -> int:
    if arguments.engine is None or arguments.output is None:
        raise InvalidArgumentError(
            "--format triton needs --engine FILE and --output FOLDER; python build_engine.py builds an engine"
        )
    _refuse_others(arguments)
    check_folder(arguments.output.absolute().parent)
    files = read_engine(arguments.engine)
    models = write_repository(files, arguments.output)
    runtime = files.sidecar.runtime.name
    _print(
        engine=f"{files.sidecar.config.name}, {files.sidecar.precision.mode}, of {runtime}",
        models=", ".join(models),
        note="" if PLAN in models else f"no {PLAN}: Triton runs plans of tensorrt, not of {runtime}",
        start=str(arguments.output / START),
    )
    return 0


def _refuse_others(arguments: argparse.Namespace) -> None:
    """Raise InvalidArgumentError for options of a build, which an engine has behind it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name, value in vars(arguments).items():
        if name not in _FOR_TRITON and value != parser.get_default(name):
            raise InvalidArgumentError(
                f"--{name.replace('_', '-')} is not for --format triton: the engine was built with its own settings"
            )


def _print(**rows: str) -> None:
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        if value:
            table.add_row(name, shown(value))
    Console(width=ANY_WIDTH).print(table)
