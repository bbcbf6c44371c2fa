"""`retinaface-trt build` and build_engine.py."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.backend.targets import TARGET_CHOICES
from engine.build.pipeline import BuildOptions, BuildReport, build_engine
from engine.cli.terminal import shown
from engine.config.detection import InputSize, Thresholds
from engine.config.files import find_config
from engine.config.formats import PRECISIONS, QUANTISED_PRECISIONS
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.precision.options import METHODS, QuantisationOptions, Techniques
from engine.progress import stages_shown
from engine.types import DEFAULT_SCORE_THRESHOLD

SUMMARY = "build an engine from a checkpoint"
_ANY_WIDTH = 4096
_KEPT_SHOWN = 3  # layers of each precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a build."""
    defaults = BuildOptions()
    add = parser.add_argument
    # Values are checked by the builder, whose messages say more than argparse's.
    add("--precision", default=defaults.precision, help=f"{', '.join(PRECISIONS)} (default %(default)s)")
    add("--config", default=defaults.config, metavar="NAME|FILE",
        help=f"model: {', '.join(PRESETS)}, or a JSON file as `retinaface-trt config NAME` writes it "
        "(default %(default)s)")  # fmt: skip
    add("--weights", metavar="FILE|NAME", help="checkpoint, or the name of published weights, or 'random'")
    add("--input-size", type=int, nargs=2, metavar=("H", "W"),
        help="height and width of the network's input (default: the model's, 640 640 for most)")  # fmt: skip
    add("--min-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes from this one")
    add("--max-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes up to this one")
    add("--max-batch", type=int, default=defaults.max_batch, help="images in one run (default %(default)s)")
    add("--runtime", default=defaults.runtime, help="auto, tensorrt or tensorrt-rtx (default %(default)s)")
    add("--target", action="append", default=[], metavar="ARCH",
        help=f"GPU architecture, repeatable: {', '.join(TARGET_CHOICES)} (TensorRT-RTX; default portable)")  # fmt: skip
    for setting in fields(Thresholds):
        name, meaning = f"--{setting.metadata['option'].replace('_', '-')}", setting.metadata["help"]
        if isinstance(setting.default, bool):
            add(name, action=argparse.BooleanOptionalAction, default=setting.default, help=meaning)
        else:
            add(name, type=type(setting.default), default=setting.default, help=f"{meaning} (default %(default)s)")
    add("--embed-plugins", action=argparse.BooleanOptionalAction, default=defaults.embed_plugins,
        help="put the plugin library into the engine: one self-contained file")  # fmt: skip
    _add_quantisation(
        parser.add_argument_group(f"quantisation ({', '.join(QUANTISED_PRECISIONS)}; rounding: bf16 too)")
    )
    add("--output", type=Path, metavar="FILE", help="path of the engine (default retinaface_PRECISION.engine)")


def _add_quantisation(group: argparse._ArgumentGroup) -> None:
    defaults, techniques = QuantisationOptions(), Techniques()
    add = group.add_argument
    add("--calib-dir", metavar="DIR", help="photos to calibrate with, of any sizes; half of them measure the loss")
    add("--calib-images", type=int, metavar="N", default=defaults.calib_images,
        help="how many of them to use (default %(default)s)")  # fmt: skip
    add("--calib-cache", metavar="FILE", help="calibration cache; reused while its inputs are the same")
    add("--calib-method", default=techniques.method, help=f"{', '.join(METHODS)} (default %(default)s)")
    add("--max-loss", metavar="X|off", help="largest loss of mean box IoU against float32: keeps as few layers as "
        "possible in higher precision; off keeps none (default 0.01; int8: keeps the most sensitive layers, up to "
        "9.5 %% of the MACs)")  # fmt: skip
    for name, what in (
        ("equalise", "give every channel of an activation one range"),
        ("round-weights", "round weights so that their errors cancel"),
    ):
        default = getattr(techniques, name.replace("-", "_"))
        add(f"--{name}", action=argparse.BooleanOptionalAction, default=default, help=what)


def _quantisation(arguments: argparse.Namespace) -> QuantisationOptions:
    return QuantisationOptions(
        calib_dir=arguments.calib_dir,
        calib_images=arguments.calib_images,
        cache=arguments.calib_cache,
        techniques=Techniques(
            method=arguments.calib_method,
            equalise=arguments.equalise,
            round_weights=arguments.round_weights,
        ),
        max_loss=_max_loss(arguments.max_loss),
    )


def _max_loss(text: str | None) -> float | None:
    if text is None or text == "off":
        return None if text is None else float("inf")
    try:
        return float(text)
    except ValueError:
        raise InvalidArgumentError(f"--max-loss is {text!r}, expected a number such as 0.01, or off") from None


def run(arguments: argparse.Namespace) -> int:
    """Build, showing each stage, and print what was built."""
    config = find_config(arguments.config)
    size = tuple(arguments.input_size or config.input_size)
    options = BuildOptions(
        precision=arguments.precision,
        config=config,
        weights=arguments.weights,
        size=InputSize(tuple(arguments.min_input_size or size), size, tuple(arguments.max_input_size or size)),
        max_batch=arguments.max_batch,
        runtime=arguments.runtime,
        targets=tuple(arguments.target),
        thresholds=Thresholds(**{v.name: getattr(arguments, v.metadata["option"]) for v in fields(Thresholds)}),
        embed_plugins=arguments.embed_plugins,
        quantisation=_quantisation(arguments),
        output=arguments.output,
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
    console = Console(width=_ANY_WIDTH)
    console.print(table)


def _evidence(precision: dict[str, Any]) -> list[tuple[str, str]]:
    """Report a quantised engine's agreement with the float32 network first, then what it costs."""
    if "agreement" not in precision:
        return []
    counted = precision["convolutions"]
    quantised = (
        f"{counted['quantised']} of {counted['convolutions']} convolutions, {counted['macs_share']:.1%} of the "
        "multiplications"
    )
    return [*_accuracy(precision), ("in 8 bits", quantised), *_kept(precision["kept_higher"])]


def _accuracy(precision: dict[str, Any]) -> list[tuple[str, str]]:
    agreement, loss, max_loss = precision["agreement"], precision["loss"], precision["max_loss"]
    if loss is None:
        return [("agreement", "not measured: no faces in the held-out images")]
    budget = "" if max_loss is None else f", budget {max_loss:g}"
    missed = " (NOT met)" if budget and loss > max_loss else ""
    iou, change = agreement["iou"], agreement["score_change"]
    if iou is None:
        found = f"none of {agreement['faces']} faces of the held-out images is found again"
    else:
        presence = next(entry for entry in agreement["presence"] if entry["threshold"] == DEFAULT_SCORE_THRESHOLD)
        found = (
            f"box IoU {iou['mean']:.4f} (min {iou['minimum']:.4f}), score change {change['mean']:.4f} "
            f"(max {change['maximum']:.4f}), {presence['lost']} of {agreement['faces']} faces lost, "
            f"{presence['new']} new, on held-out images with {precision['measured_on']}"
        )
    return [("agreement", found), ("loss", f"{loss:.4f}{budget}{missed}")]


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
