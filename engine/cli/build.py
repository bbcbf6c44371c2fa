"""`retinaface-trt build` and build_engine.py."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.backend.targets import TARGET_CHOICES
from engine.build.pipeline import BuildOptions, BuildReport, build_engine
from engine.cli.arguments import add_network_options, network_options
from engine.cli.terminal import ANY_WIDTH, shown
from engine.config.formats import PRECISIONS
from engine.mesh.dense.output import MeshOutput
from engine.progress import stages_shown
from engine.types import DEFAULT_SCORE_THRESHOLD

SUMMARY = "build an engine from a checkpoint"
_KEPT_SHOWN = 3  # layers of each precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a build."""
    defaults = BuildOptions()
    add = parser.add_argument
    add_network_options(parser, PRECISIONS, defaults.precision)
    add("--max-batch", type=int, default=defaults.max_batch, help="images in one run (default %(default)s)")
    add("--runtime", default=defaults.runtime, help="auto, tensorrt or tensorrt-rtx (default %(default)s)")
    add("--target", action="append", default=[], metavar="ARCH",
        help=f"GPU architecture, repeatable: {', '.join(TARGET_CHOICES)} (TensorRT-RTX; default portable)")  # fmt: skip
    add("--embed-plugins", action=argparse.BooleanOptionalAction, default=defaults.embed_plugins,
        help="put the plugin library into the engine: one self-contained file")  # fmt: skip
    add("--threads", type=int, metavar="N", help="largest number of CPU threads of calibration (default: all cores)")
    add("--output", type=Path, metavar="FILE", help="path of the engine (default retinaface_PRECISION.engine)")


def run(arguments: argparse.Namespace) -> int:
    """Build, showing each stage, and print what was built."""
    options = BuildOptions(
        **network_options(arguments),
        max_batch=arguments.max_batch,
        runtime=arguments.runtime,
        targets=tuple(arguments.target),
        embed_plugins=arguments.embed_plugins,
        output=arguments.output,
        threads=arguments.threads,
    )
    with stages_shown() as show:
        report = build_engine(options, show)
    _print(report)
    return 0


def _print(report: BuildReport) -> None:
    sidecar = report.sidecar
    # Without borders and at full width: a long path stays whole, to be copied.
    table = Table(show_header=False, box=None)
    embedded = "inside the engine" if sidecar.plugins.embedded else "loaded from this installation"
    for name, value in (
        ("model", f"{sidecar.config.name}, weights {sidecar.weights.source}"),
        ("precision", sidecar.precision.mode),
        *_meshes(sidecar.meshes),
        *_calibration(sidecar.calibration),
        *_evidence(sidecar.precision.evidence),
        ("layers", str(report.plan.num_layers)),
        ("plugins", f"{', '.join(report.plan.plugins)} ({embedded})"),
        ("runtime", f"{sidecar.runtime.name} {sidecar.runtime.version}"),
        ("targets", ", ".join(sidecar.targets)),
        ("size", f"{len(report.plan.data) / 1e6:.2f} MB"),
        ("seconds", f"{report.seconds:.1f}"),
        *(("files" if i == 0 else "", str(path)) for i, path in enumerate(report.files)),
    ):
        table.add_row(name, shown(value))
    console = Console(width=ANY_WIDTH)
    console.print(table)


def _meshes(meshes: MeshOutput | None) -> list[tuple[str, str]]:
    if meshes is None:
        return []
    vertices = f"{meshes.num_vertices} {'coloured ' * meshes.colours}vertices"
    return [("meshes", f"{meshes.max_meshes} of {vertices} a picture, decoder {meshes.decoder}")]


def _evidence(precision: dict[str, Any]) -> list[tuple[str, str]]:
    """Report a quantised engine's agreement with the float32 network first, then what it costs."""
    if "convolutions" not in precision:
        return []
    counted = precision["convolutions"]
    quantised = (
        f"{counted['quantised']} of {counted['convolutions']} convolutions, {counted['macs_share']:.1%} of the "
        "multiplications"
    )
    unknown = [("agreement", "not measured: give photos with --calib-dir")]  # of a network that was trained before
    accuracy = _accuracy(precision) if "agreement" in precision else unknown
    return [*accuracy, ("in 8 bits", quantised), *_kept(precision["kept_higher"])]


def _accuracy(precision: dict[str, Any]) -> list[tuple[str, str]]:
    loss, max_loss = precision["loss"], precision["max_loss"]
    if loss is None:
        return [("agreement", "not measured: no faces in the calibration images")]
    budget = "" if max_loss is None else f", budget {max_loss:g}"
    missed = " (NOT met)" if budget and loss > max_loss else ""
    found = {precision["measured_on"]: precision["agreement"], **precision["elsewhere"]}
    return [
        *((f"with {name}", _found(agreement)) for name, agreement in found.items()),
        *([("before training", _found(precision["untrained"]))] if "untrained" in precision else []),
        ("loss", f"{loss:.4f} of boxes or landmarks, whichever is larger{budget}{missed}"),
    ]


def _found(agreement: dict[str, Any]) -> str:
    faces, iou, landmarks = agreement["faces"], agreement["iou"], agreement["landmark_error"]
    if iou is None:
        return f"none of {faces} faces is found again"
    presence = next(entry for entry in agreement["presence"] if entry["threshold"] == DEFAULT_SCORE_THRESHOLD)
    moved = (
        "" if landmarks is None else f", landmarks {landmarks['mean']:.2%} (95 %: {landmarks['p95']:.2%}) of the size"
    )
    changes = agreement.get("values", {}).items()
    changed = "".join(f", {name} {of['mean']:.4g} (95 %: {of['p95']:.4g})" for name, of in changes)
    return (
        f"{presence['lost']} of {faces} faces lost, {presence['new']} new, box IoU {iou['mean']:.4f} "
        f"(5 %: {iou['p5']:.4f}, least {iou['minimum']:.4f}){moved}{changed}"
    )


def _calibration(calibration: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Say what the figures rest on."""
    if not calibration or "faces" not in calibration:
        return []
    if not calibration["fitted_to"]:
        measured = "measured on all of them, some of which may be those that it was trained on"
    elif calibration["held_out"]:
        measured = f"measured on the {calibration['measured_on']} that were held out"
    else:
        measured = "few faces, so all were fitted to and measured on: expect more loss on other photos"
    return [("calibration", f"{calibration['images']} images, {calibration['faces']} faces; {measured}")]


def _kept(layers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Summarise the layers kept in each higher precision; the sidecar lists them all."""
    rows = []
    for kind in dict.fromkeys(layer["kind"] for layer in layers):
        own = sorted((k for k in layers if k["kind"] == kind), key=lambda layer: -layer["sensitivity"])
        worst = ", ".join(f"{layer['name']} ({layer['sensitivity']:.1%} of the error)" for layer in own[:_KEPT_SHOWN])
        more = f", and {len(own) - _KEPT_SHOWN} more in the sidecar" if len(own) > _KEPT_SHOWN else ""
        macs = sum(layer["macs_share"] for layer in own)
        rows.append((f"kept in {kind}", f"{len(own)}, {macs:.2%} of the multiplications: {worst}{more}"))
    return rows
