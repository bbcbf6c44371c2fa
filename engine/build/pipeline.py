"""The whole way from weights to the three files of an engine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.backend.plugin_library import PLUGIN_VERSION, PluginLibrary, plugin_library
from engine.backend.targets import check_targets, has_fp8
from engine.backend.tensorrt import Backend, load_backend
from engine.build.plan import Plan, build_plan
from engine.config.detection import INPUT_NAME, InputSize, Thresholds, detection_names
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import BuildError, InvalidArgumentError
from engine.export.attach import attach_detection, plugin_names
from engine.export.network import export_network
from engine.files import check_writable, sha256_of, write_together
from engine.model.weights.load import load_model
from engine.precision.convert import TypedNetwork, check_precision, to_precision
from engine.precision.options import QuantisationOptions
from engine.sidecar import ENGINE_SUFFIX, SCHEMA, Sidecar, describe_file, network_path, sidecar_path, sign_network
from engine.types import WeightsOrigin
from engine.version import project_version

if TYPE_CHECKING:
    import onnx

MAX_BATCH_LIMIT = 1024


@dataclass(frozen=True)
class BuildOptions:
    """What to build.

    Attributes:
        precision: one of config.formats.PRECISIONS.
        config: name of the preset that the weights belong to.
        weights: a name, a path, or None for the preset's default.
        size: of the network's input; None is the preset's.
        max_batch: the engine takes 1 to max_batch images at once.
        runtime: "auto", "tensorrt" or "tensorrt-rtx".
        targets: GPU architectures; empty for the runtime's default.
        thresholds: fixed in the engine.
        embed_plugins: whether the plan carries the plugin library, so that it can be run where that is not installed.
        quantisation: calibration and accuracy budget of the 8-bit precisions.
        output: path of the engine, NAME.engine; None is retinaface_PRECISION.engine in the working directory.
    """

    precision: str = "fp16"
    config: str = "mobilenet0.25"
    weights: str | None = None
    size: InputSize | None = None
    max_batch: int = 16
    runtime: str = "auto"
    targets: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    embed_plugins: bool = False
    quantisation: QuantisationOptions = field(default_factory=QuantisationOptions)
    output: str | os.PathLike[str] | None = None

    def input_size(self) -> InputSize:
        """What the engine takes; InvalidArgumentError for an unknown config."""
        return self.size or InputSize.fixed(*preset(self.config).input_size)

    def engine_path(self) -> Path:
        """Where the engine goes."""
        return Path(self.output or f"retinaface_{self.precision}{ENGINE_SUFFIX}")


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Attributes:
        sidecar: written beside the engine.
        plan: the engine.
        seconds: the whole build took.
        files: written, the engine first.
    """

    sidecar: Sidecar
    plan: Plan
    seconds: float
    files: tuple[Path, ...]


def build_engine(options: BuildOptions, on_stage: Callable[[str], None] = lambda stage: None) -> BuildReport:
    """Build an engine and write its three files, which appear together or not at all.

    Args:
        options: what to build.
        on_stage: called with a short text as each stage begins.

    Raises:
        InvalidArgumentError: an option is out of range; found before any work.
        WeightsError: the weights cannot be loaded.
        CalibrationError: the calibration images, the network's values on them, or the cache are unusable.
        BuildError: a package is missing, TensorRT refused the network, or the files cannot be written.
    """
    started = time.perf_counter()
    config, size = preset(options.config), options.input_size()
    _check(options, config)
    backend = load_backend(options.runtime)
    targets = check_targets(options.targets, backend.runtime, needs_fp8=options.precision == "fp8")
    library = plugin_library()
    path = options.engine_path()
    _check_folder(path)

    on_stage("Loading weights")
    model, origin = load_model(config, options.weights)
    if origin.known_as is None:
        on_stage(f"Note: {origin.note}")
    on_stage(f"Exporting {config.name} to ONNX")
    network = export_network(model, size)
    typed = to_precision(
        network,
        config,
        options.precision,
        size.optimum,
        options.quantisation,
        weights_sha256=origin.sha256 or "random",
        fp8_allowed=has_fp8(targets),
        on_stage=on_stage,
        thresholds=options.thresholds,
    )
    detector = attach_detection(typed.network, config, options.thresholds).SerializeToString(deterministic=True)
    on_stage(f"Compiling with {backend.runtime} {backend.version} for {', '.join(targets)}")
    plan = build_plan(
        detector,
        backend,
        library,
        size=size,
        max_batch=options.max_batch,
        targets=targets,
        embed_plugins=options.embed_plugins,
    )
    on_stage("Writing files")
    identity = _identity(options, config, origin, backend, targets, library, typed, sha256_of(detector))
    sidecar = _write(path, plan, typed.on_cpu, identity)
    files = (path, sidecar_path(path), network_path(path))
    return BuildReport(sidecar, plan, time.perf_counter() - started, files)


def _check(options: BuildOptions, config: RetinaFaceConfig) -> None:
    check_precision(options.precision, options.quantisation)
    if not 1 <= options.max_batch <= MAX_BATCH_LIMIT:
        raise InvalidArgumentError(f"max_batch is {options.max_batch}, expected 1 to {MAX_BATCH_LIMIT}")
    options.input_size().check(config)
    if options.engine_path().suffix != ENGINE_SUFFIX:
        raise InvalidArgumentError(f"output is {options.output}, expected a name that ends in {ENGINE_SUFFIX}")


def _check_folder(path: Path) -> None:
    for file in (path, sidecar_path(path), network_path(path)):
        if file.is_dir():
            raise BuildError(f"output {file} is a folder, expected the name of a file")
    try:
        check_writable(path.parent)
    except OSError as error:
        raise BuildError(
            f"cannot write to the output folder {path.parent}: {error.strerror}. Choose another with --output"
        ) from error


def _identity(
    options: BuildOptions,
    config: RetinaFaceConfig,
    origin: WeightsOrigin,
    backend: Backend,
    targets: tuple[str, ...],
    library: PluginLibrary,
    typed: TypedNetwork,
    detector_sha256: str,
) -> dict[str, Any]:
    m, size = options.thresholds.max_detections, options.input_size()
    shapes = {"num_detections": [], "boxes": [m, 4], "scores": [m], "landmarks": [m, 10]}
    return {
        "schema": SCHEMA,
        "project_version": project_version(),
        "config": config.to_dict(),
        "weights": asdict(origin),
        "precision": typed.precision,
        "calibration": typed.calibration,
        "runtime": {"name": backend.runtime, "version": backend.version},
        "targets": list(targets),
        "plugins": {
            "versions": dict.fromkeys(plugin_names(config), PLUGIN_VERSION),
            "library_sha256": library.sha256,
            "embedded": options.embed_plugins,
        },
        "io": {
            "input": {
                "name": INPUT_NAME,
                "dtype": "float32",
                "minimum": [1, 3, *size.minimum],
                "optimum": [max(1, options.max_batch // 2), 3, *size.optimum],
                "maximum": [options.max_batch, 3, *size.maximum],
            },
            "outputs": [
                {"name": name, "dtype": "int32" if name == "num_detections" else "float32", "shape": ["N", *tail]}
                for name, tail in shapes.items()
                if name in detection_names(config)
            ],
        },
        "preprocessing": {
            "resize": "letterbox: bilinear, aspect kept, centred",
            "color_order": config.color_order,
            "mean": list(config.mean),
            "std": list(config.std),
            "pad_value": list(config.pad_value),
        },
        "thresholds": options.thresholds.to_dict(),
        "detector_sha256": detector_sha256,
    }


def _write(path: Path, plan: Plan, network: onnx.ModelProto, identity: dict[str, Any]) -> Sidecar:
    signed = sign_network(network, identity)
    files = {"engine": describe_file(path, plan.data), "network": describe_file(network_path(path), signed)}
    sidecar = Sidecar.from_values(json.loads(json.dumps({**identity, "files": files})))  # as read_engine reads it
    # The engine last: where it is, the others are.
    contents = {network_path(path): signed, sidecar_path(path): sidecar.to_json().encode(), path: plan.data}
    try:
        write_together(contents)
    except OSError as error:
        raise BuildError(f"the engine could not be written to {path.parent}: {error.strerror}") from error
    return sidecar
