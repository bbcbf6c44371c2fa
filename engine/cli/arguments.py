"""Options that several commands share, and checks before long work begins."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.detection import InputSize, Thresholds
from engine.config.files import find_config
from engine.config.formats import QUANTISED_PRECISIONS
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.mesh.dense.source import USUAL_MESHES, MeshOptions
from engine.precision.options import METHODS, QuantisationOptions, Techniques
from engine.writing import check_name, check_writable

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace

_DEFAULT_CONFIG = "mobilenet0.25"


def add_device_options(parser: argparse.ArgumentParser, default: str | None = "auto") -> None:
    """Add the options that say where an engine runs; None as default tells that no device was given."""
    add = parser.add_argument
    add("--device", default=default,
        help="auto, cpu, cuda or cuda:N; cpu:openvino or cpu:onnxruntime (default auto)")  # fmt: skip
    add("--trust-embedded-plugins", action="store_true",
        help="let a GPU run the native code inside an engine that was built with --embed-plugins")  # fmt: skip


def require_packages(*names: str) -> None:
    """Raise RetinaFaceError unless all these packages are installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RetinaFaceError(f"not installed: {' and '.join(missing)}. Run pip install {' '.join(missing)}")


def check_folder(folder: Path) -> None:
    """Create a folder if needed; raise InvalidArgumentError unless files can be written to it."""
    try:
        check_writable(folder)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write to the folder {folder}: {error.strerror}") from error


def check_file_name(path: Path) -> None:
    """Raise InvalidArgumentError if a file cannot have that name in its folder."""
    try:
        check_name(path)
    except OSError as error:
        raise InvalidArgumentError(f"output {path} cannot be written: {error.strerror}. Choose another name") from error


def check_outputs(paths: Sequence[Path]) -> None:
    """Raise InvalidArgumentError unless a file can be written at each path; missing folders are created."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError(f"{paths[0]} is named for two outputs")
    for path in paths:
        check_folder(path.parent)
        check_file_name(path)
        if path.is_dir():
            raise InvalidArgumentError(f"output {path} is a folder, expected the name of a file")


def name_engines(paths: Sequence[Path]) -> dict[str, Path]:
    """Name each engine by its file; by its full path if several files have the same name."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidArgumentError("an engine is named twice: give another file each time")
    stems = [path.stem for path in paths]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in paths}


def describe(detector: TRTRetinaFace) -> str:
    """Say in words what a detector runs."""
    sidecar, (height, width) = detector.sidecar, detector.input_size
    settings = ", ".join(f"{key} {value}" for key, value in asdict(sidecar.thresholds).items())
    return (
        f"{sidecar.config.name}, weights {sidecar.weights.source}, {sidecar.precision.mode}, input {height} x "
        f"{width}, on {detector.device} with {detector.runtime}; {settings}"
    )


def add_network_options(parser: argparse.ArgumentParser, precisions: Iterable[str], precision: str) -> None:
    """Add the options of the commands that make a network from weights, with these precisions and the default one."""
    add = parser.add_argument
    # Values are checked by the builder, whose messages say more than argparse's.
    add("--precision", default=precision, help=f"{', '.join(precisions)} (default %(default)s)")
    add("--config", default=_DEFAULT_CONFIG, metavar="NAME|FILE",
        help=f"model: {', '.join(PRESETS)}, or a JSON file as `retinaface-trt config NAME` writes it "
        "(default %(default)s)")  # fmt: skip
    add("--weights", metavar="FILE|NAME", help="checkpoint, or the name of published weights, or 'random'")
    add("--check", type=Path, metavar="PHOTO", help="picture with several faces to try the weights on, with the "
        "settings that their shapes allow (unknown weights: always on a drawn picture)")  # fmt: skip
    add("--input-size", type=int, nargs=2, metavar=("H", "W"),
        help="height and width of the network's input (default: the model's, 640 640 for most)")  # fmt: skip
    add("--min-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes from this one")
    add("--max-input-size", type=int, nargs=2, metavar=("H", "W"), help="build for a range of sizes up to this one")
    for setting in fields(Thresholds):
        name, meaning = f"--{setting.metadata['option'].replace('_', '-')}", setting.metadata["help"]
        if isinstance(setting.default, bool):
            add(name, action=argparse.BooleanOptionalAction, default=setting.default, help=meaning)
        else:
            add(name, type=type(setting.default), default=setting.default, help=f"{meaning} (default %(default)s)")
    add("--mesh-decoder", type=Path, metavar="FILE", help="decode meshes of the best faces inside, with this file "
        "(.npz) that was trained with the weights; for models with a head `dense`")  # fmt: skip
    add("--max-meshes", type=int, metavar="N", help=f"meshes of a picture, at most (default {USUAL_MESHES})")
    add("--mesh-colours", action="store_true", help="give the colours of their vertices too")
    of_bf16 = "; rounding: bf16 too" if "bf16" in precisions else ""
    _add_quantisation(parser.add_argument_group(f"quantisation ({', '.join(QUANTISED_PRECISIONS)}{of_bf16})"))


def network_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of those options, by the names that BuildOptions and ExportOptions have for them."""
    config = find_config(arguments.config)
    size = tuple(arguments.input_size or config.input_size)
    return {
        "precision": arguments.precision,
        "config": config,
        "weights": arguments.weights,
        "check": arguments.check,
        "size": InputSize(tuple(arguments.min_input_size or size), size, tuple(arguments.max_input_size or size)),
        "thresholds": Thresholds(**{v.name: getattr(arguments, v.metadata["option"]) for v in fields(Thresholds)}),
        "quantisation": _quantisation(arguments),
        "meshes": _meshes(arguments),
    }


def _meshes(arguments: argparse.Namespace) -> MeshOptions | None:
    if arguments.mesh_decoder is None:
        if arguments.max_meshes is not None:
            raise InvalidArgumentError("--max-meshes is given, but no --mesh-decoder to decode meshes with")
        if arguments.mesh_colours:
            raise InvalidArgumentError("--mesh-colours is given, but no --mesh-decoder to decode meshes with")
        return None
    return MeshOptions(arguments.mesh_decoder, arguments.max_meshes, arguments.mesh_colours)


def _add_quantisation(group: argparse._ArgumentGroup) -> None:
    defaults, techniques = QuantisationOptions(), Techniques()
    add = group.add_argument
    add(
        "--calib-dir",
        metavar="DIR",
        help="photos to calibrate with, of any sizes; half of them measure the loss, all if they have few faces",
    )
    add("--calib-images", type=int, metavar="N", default=defaults.calib_images,
        help="how many of them to use (default %(default)s)")  # fmt: skip
    add("--calib-cache", metavar="FILE", help="calibration cache, reused while its inputs are the same; "
        "or int8.npz of `train --precision int8`, which needs no photos")  # fmt: skip
    add("--calib-method", default=techniques.method, help=f"{', '.join(METHODS)} (default %(default)s)")
    add("--max-loss", metavar="X|off", help="largest loss of boxes' or landmarks' places against float32: keeps as "
        "few layers as possible in higher precision; off keeps none (default 0.01; int8: keeps the most sensitive "
        "layers, up to 9.5 %% of the MACs)")  # fmt: skip
    add("--train-steps", type=int, metavar="N", default=defaults.train_steps,
        help="after calibration, train for N steps on the photos (no labels are needed) until the quantised network "
        "gives the float32 network's results; some 2000 are needed (default %(default)s: no training)")  # fmt: skip
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
        train_steps=arguments.train_steps,
    )


def _max_loss(text: str | None) -> float | None:
    if text is None or text == "off":
        return None if text is None else float("inf")
    try:
        return float(text)
    except ValueError:
        raise InvalidArgumentError(f"--max-loss is {text!r}, expected a number such as 0.01, or off") from None
