"""The export: from weights to one ONNX file that every ONNX runtime can run, without plugins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.build.threads import build_threads
from engine.config.detection import InputSize, Thresholds
from engine.config.files import find_config
from engine.config.formats import QUANTISED_PRECISIONS
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.export.dense import attach_meshes, export_meshes
from engine.export.network import export_network
from engine.export.standard import surround
from engine.export.suppression import check_suppression
from engine.mesh.dense.source import MeshOptions, MeshSource, read_source
from engine.model.weights.load import load_model
from engine.precision.convert import check_precision, to_precision
from engine.precision.options import Conversion, QuantisationOptions
from engine.sidecar.content import Preprocessing
from engine.types import WeightsOrigin
from engine.version import project_version
from engine.writing import check_name, check_writable, write_file

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
# The others are none that a file can hold (TF32), or that ONNX Runtime's convolutions do not have (BF16).
PORTABLE_PRECISIONS = ("fp32", "fp16", *QUANTISED_PRECISIONS)
METADATA_KEY = "retinaface-trt-detector"


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        precision: one of PORTABLE_PRECISIONS.
        config: settings that the weights were trained with; see BuildOptions.
        weights: name or path; None is the preset's default.
        check: path of a picture to try the weights on; see BuildOptions.
        size: of the input; None is the preset's.
        thresholds: of decoding and suppression, fixed in the file.
        suppression: one of export.suppression.SUPPRESSIONS.
        quantisation: calibration and accuracy budget of the 8-bit precisions.
        meshes: which meshes of faces are among the outputs; see BuildOptions.
        output: path of the file; None is retinaface_PRECISION.onnx in the working directory.
    """

    precision: str = "fp32"
    config: str | os.PathLike[str] | RetinaFaceConfig = "mobilenet0.25"
    weights: str | None = None
    check: str | os.PathLike[str] | None = None
    size: InputSize | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    suppression: str = "nms"
    quantisation: QuantisationOptions = field(default_factory=QuantisationOptions)
    meshes: MeshOptions | None = None
    output: str | os.PathLike[str] | None = None

    def input_size(self) -> InputSize:
        """Return the input sizes; InvalidArgumentError for an unknown config."""
        return self.size or InputSize.fixed(*find_config(self.config).input_size)

    def path(self) -> Path:
        """Return the path of the file."""
        return Path(self.output or f"retinaface_{self.precision}{SUFFIX}")


def export_onnx(options: ExportOptions, on_stage: Callable[[str], None] = lambda stage: None) -> onnx.ModelProto:
    """Write an ONNX file from grey levels to faces, whole or not at all, and return its content.

    Args:
        options: of the export.
        on_stage: called with a short text as each stage begins and goes on.

    Raises:
        InvalidArgumentError: an option is out of range; raised before any work.
        WeightsError: the weights cannot be loaded.
        CalibrationError: the calibration images, the network's values or the cache cannot be used.
        BuildError: the network cannot be exported or converted.
        OutputError: the file cannot be written.
    """
    config = find_config(options.config)
    options = replace(options, config=config)  # its file is read once
    _check(options)
    with build_threads(None):
        return _export(options, config, on_stage)


def _export(options: ExportOptions, config: RetinaFaceConfig, on_stage: Callable[[str], None]) -> onnx.ModelProto:
    from engine.plausibility.check import read_picture, remarks  # needs OpenCV and the operators

    size, picture = options.input_size(), read_picture(options.check)
    meshes = read_source(options.meshes, config, options.thresholds)
    on_stage("Loading weights")
    model, origin = load_model(config, options.weights)
    if origin.known_as is None:
        on_stage(f"Note: {origin.note}")
    for remark in remarks(model, origin, picture, size.optimum):
        on_stage(remark)
    on_stage(f"Exporting {config.name} to ONNX")
    branch = None if meshes is None else export_meshes(meshes.weights, meshes.output)
    conversion = Conversion(
        export_network(model, size),
        config,
        options.precision,
        size.optimum,
        options.quantisation,
        weights_sha256=origin.sha256 or "random",
        thresholds=options.thresholds,
        on_stage=on_stage,
    )
    typed = to_precision(conversion)
    on_stage("Adding normalisation, decoding and suppression")
    detector = surround(typed.network, config, options.thresholds, size, options.suppression)
    if branch is not None:
        attach_meshes(detector, branch)
    entry = detector.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, _metadata(options, origin, meshes)
    on_stage("Writing the file")
    write_file(options.path(), detector.SerializeToString(deterministic=True))
    return detector


def _check(options: ExportOptions) -> None:
    if options.precision not in PORTABLE_PRECISIONS:
        raise InvalidArgumentError(
            f"precision is {options.precision!r}, expected one of: {', '.join(PORTABLE_PRECISIONS)}. Others are "
            "for engines only"
        )
    check_precision(options.precision, options.quantisation)
    check_suppression(options.suppression, options.thresholds)
    options.input_size().check(find_config(options.config))
    path = options.path()
    if path.suffix != SUFFIX:
        raise InvalidArgumentError(f"output is {path}, expected a name that ends in {SUFFIX}")
    try:
        check_writable(path.parent)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write to the output folder {path.parent}: {error.strerror}") from error
    try:
        check_name(path)
    except OSError as error:
        raise InvalidArgumentError(f"output {path} cannot be written: {error.strerror}. Choose another name") from error
    if path.is_dir():
        raise InvalidArgumentError(f"output {path} is a folder, expected the name of a file")


def _metadata(options: ExportOptions, origin: WeightsOrigin, meshes: MeshSource | None) -> str:
    """Return what another program needs to know, as JSON."""
    config = find_config(options.config)
    pixels = Preprocessing.of(config)
    return json.dumps(
        {
            "made_by": f"retinaface-trt {project_version()}",
            "input": {
                "layout": "float32 [N, 3, H, W], grey levels 0 to 255; normalised inside",
                "color_order": pixels.color_order,
                "pad_value": pixels.pad_value,
                "resize": f"{pixels.resize}; small pictures are not enlarged",
                "size": asdict(options.input_size()),
            },
            "precision": options.precision,
            "suppression": options.suppression,
            "thresholds": asdict(options.thresholds),
            "config": config.to_dict(),
            "weights": asdict(origin),
            **({"meshes": meshes.output.to_values()} if meshes else {}),
        }
    )
