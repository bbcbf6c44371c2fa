"""The build: from weights to the three files of an engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.backend.plugin_library import plugin_library
from engine.backend.targets import check_targets, has_format
from engine.backend.tensorrt import load_backend
from engine.build.plan import Plan, PlanOptions, Toolchain, build_plan
from engine.build.threads import build_threads
from engine.config.detection import MAX_BATCH, InputSize, Thresholds
from engine.config.files import find_config
from engine.config.formats import FORMATS, PRECISIONS, TF32
from engine.config.model import RetinaFaceConfig
from engine.errors import BuildError, InvalidArgumentError, OutputError
from engine.export.attach import attach_detection, input_dtype, plugin_versions
from engine.export.dense import attach_meshes, export_meshes
from engine.export.network import export_network
from engine.files import sha256_of
from engine.mesh.dense.source import MeshOptions, MeshSource, read_source
from engine.model.weights.load import load_model
from engine.precision.convert import check_precision, to_precision
from engine.precision.options import Conversion, QuantisationOptions, TypedNetwork
from engine.sidecar.content import (
    SCHEMA,
    BuilderVersion,
    FileEntries,
    Identity,
    InputSpec,
    Plugins,
    PrecisionRecord,
    Preprocessing,
    Sidecar,
    TensorSpecs,
)
from engine.sidecar.files import (
    ENGINE_SUFFIX,
    check_files,
    describe_file,
    files_of,
    network_path,
    sidecar_path,
    sign_network,
)
from engine.sidecar.network import check_network
from engine.threads import check_threads
from engine.types import WeightsOrigin
from engine.untrusted.onnx_network import read_network
from engine.version import project_version
from engine.writing import check_name, check_writable

if TYPE_CHECKING:
    import onnx

    from engine.plausibility.check import Picture


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        precision: one of config.formats.PRECISIONS.
        config: settings that the weights were trained with: the name of a preset, the path of a JSON file
            (config.files), or the settings themselves.
        weights: name or path; None is the preset's default.
        check: path of a picture with faces, on which, beside a drawn one, the weights are tried with the settings that
            their shapes allow; None is the drawn one only, and only for weights that are not known.
        size: of the network's input; None is the preset's.
        max_batch: the engine takes 1 to max_batch images in a batch.
        runtime: "auto", "tensorrt" or "tensorrt-rtx".
        targets: GPU architectures; empty is the runtime's default.
        thresholds: of decoding and suppression, fixed in the engine.
        embed_plugins: whether the plan contains the plugin library. It then runs where the library is not installed.
        quantisation: calibration and accuracy budget of the 8-bit precisions.
        meshes: which meshes of faces are among the outputs; None is none.
        output: path of the engine, NAME.engine; None is retinaface_PRECISION.engine in the working directory.
        threads: of the CPU, at most, but for TensorRT's own; None is one per core that this process may use.
    """

    precision: str = "fp16"
    config: str | os.PathLike[str] | RetinaFaceConfig = "mobilenet0.25"
    weights: str | None = None
    check: str | os.PathLike[str] | None = None
    size: InputSize | None = None
    max_batch: int = 16
    runtime: str = "auto"
    targets: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    embed_plugins: bool = False
    quantisation: QuantisationOptions = field(default_factory=QuantisationOptions)
    meshes: MeshOptions | None = None
    output: str | os.PathLike[str] | None = None
    threads: int | None = None

    def input_size(self) -> InputSize:
        """Return the input sizes of the engine; InvalidArgumentError for an unknown config."""
        return self.size or InputSize.fixed(*find_config(self.config).input_size)

    def engine_path(self) -> Path:
        """Return the path of the engine."""
        return Path(self.output or f"retinaface_{self.precision}{ENGINE_SUFFIX}")


@dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Attributes:
        sidecar: as written.
        plan: the compiled engine.
        seconds: duration of the build.
        files: paths of the written files, the engine first.
    """

    sidecar: Sidecar
    plan: Plan
    seconds: float
    files: tuple[Path, ...]


def build_engine(options: BuildOptions, on_stage: Callable[[str], None] = lambda stage: None) -> BuildReport:
    """Build an engine and write its three files, all or none.

    Args:
        options: of the build.
        on_stage: called with a short text as each stage begins and goes on.

    Raises:
        InvalidArgumentError: an option is out of range; raised before any work.
        WeightsError: the weights cannot be loaded.
        CalibrationError: the calibration images, the network's values or the cache cannot be used.
        BuildError: a package is missing, TensorRT refused the network, or the files cannot be written.
    """
    started = time.perf_counter()
    options = replace(options, config=find_config(options.config))  # its file is read once
    _check(options, find_config(options.config))
    backend = load_backend(options.runtime)
    targets = check_targets(options.targets, backend.runtime, PRECISIONS[options.precision][0])
    toolchain = Toolchain(backend, plugin_library(), targets)
    path = options.engine_path()
    _check_folder(path)
    from engine.plausibility.check import read_picture  # needs OpenCV and the operators

    picture = read_picture(options.check)
    meshes = read_source(options.meshes, find_config(options.config), options.thresholds)
    with build_threads(options.threads):
        sidecar, plan = _build(options, toolchain, picture, meshes, on_stage)
    files = (path, sidecar_path(path), network_path(path))
    return BuildReport(sidecar, plan, time.perf_counter() - started, files)


def _build(
    options: BuildOptions,
    toolchain: Toolchain,
    picture: Picture | None,
    meshes: MeshSource | None,
    on_stage: Callable[[str], None],
) -> tuple[Sidecar, Plan]:
    from engine.plausibility.check import remarks

    config, size, path = find_config(options.config), options.input_size(), options.engine_path()
    backend, targets = toolchain.backend, toolchain.targets
    on_stage("Loading weights")
    model, origin = load_model(config, options.weights)
    if origin.known_as is None:
        on_stage(f"Note: {origin.note}")
    for remark in remarks(model, origin, picture, size.optimum):
        on_stage(remark)
    on_stage(f"Exporting {config.name} to ONNX")
    network = export_network(model, size)
    _check_network(network, config, size)
    branch = None if meshes is None else export_meshes(meshes.weights, meshes.output)  # before hours of calibration
    conversion = Conversion(
        network,
        config,
        options.precision,
        size.optimum,
        options.quantisation,
        weights_sha256=origin.sha256 or "random",
        available=tuple(kind for kind in FORMATS if has_format(targets, kind)),
        thresholds=options.thresholds,
        on_stage=on_stage,
    )
    typed = to_precision(conversion)
    detector = attach_detection(typed.network, config, options.thresholds)
    if branch is not None:
        attach_meshes(detector, branch)
    on_stage(f"Compiling with {backend.runtime} {backend.version} for {', '.join(targets)}")
    plan_options = PlanOptions(size, options.max_batch, options.embed_plugins, tf32=options.precision == TF32.name)
    plan = build_plan(detector, toolchain, plan_options)
    on_stage("Writing files")
    identity = _identity(options, origin, toolchain, typed, detector, meshes)
    signed = sign_network(typed.on_cpu, identity, meshes.content if meshes else None)
    return _write(path, plan, signed, identity), plan


def _check(options: BuildOptions, config: RetinaFaceConfig) -> None:
    check_precision(options.precision, options.quantisation)
    if not 1 <= options.max_batch <= MAX_BATCH:
        raise InvalidArgumentError(f"max_batch is {options.max_batch}, expected 1 to {MAX_BATCH}")
    check_threads(options.threads)
    options.input_size().check(config)
    if options.engine_path().suffix != ENGINE_SUFFIX:
        raise InvalidArgumentError(f"output is {options.output}, expected a name that ends in {ENGINE_SUFFIX}")


def _check_folder(path: Path) -> None:
    try:
        check_writable(path.parent)
    except OSError as error:
        raise BuildError(
            f"cannot write to the output folder {path.parent}: {error.strerror}. Choose another with --output"
        ) from error
    for file in (path, sidecar_path(path), network_path(path)):
        try:
            check_name(file)
        except OSError as error:
            raise BuildError(
                f"output {file} cannot be written: {error.strerror}. Choose another with --output"
            ) from error
        if file.is_dir():
            raise BuildError(f"output {file} is a folder, expected the name of a file")


def _check_network(network: onnx.ModelProto, config: RetinaFaceConfig, size: InputSize) -> None:
    """Refuse now what would be refused when it is written, after hours of calibration."""
    try:
        check_network(read_network(network.SerializeToString()), config, size)
    except InvalidArgumentError as error:
        raise BuildError(f"the network would be refused when it is loaded: it {error}") from error


def _identity(
    options: BuildOptions,
    origin: WeightsOrigin,
    toolchain: Toolchain,
    typed: TypedNetwork,
    detector: onnx.ModelProto,
    meshes: MeshSource | None,
) -> Identity:
    config, backend = find_config(options.config), toolchain.backend
    output = meshes.output if meshes else None
    spec = InputSpec.of(options.input_size(), options.max_batch, input_dtype(detector))
    return Identity(
        schema=SCHEMA,
        project_version=project_version(),
        config=config,
        weights=origin,
        precision=PrecisionRecord(options.precision, typed.evidence),
        calibration=typed.calibration,
        runtime=BuilderVersion(backend.runtime, backend.version),
        targets=toolchain.targets,
        plugins=Plugins(plugin_versions(config), toolchain.library.sha256, options.embed_plugins),
        io=TensorSpecs.of(spec, config, options.thresholds, output),
        preprocessing=Preprocessing.of(config),
        thresholds=options.thresholds,
        detector_sha256=sha256_of(detector.SerializeToString(deterministic=True)),
        meshes=output,
    )


def _write(path: Path, plan: Plan, signed: bytes, identity: Identity) -> Sidecar:
    files = FileEntries(describe_file(path, plan.data), describe_file(network_path(path), signed))
    sidecar = Sidecar(**vars(identity), files=files)
    contents = {network_path(path): signed, sidecar_path(path): sidecar.to_json().encode(), path: plan.data}
    try:
        check_files(sidecar.to_json(), signed)
        files_of(path).write(contents)
    except InvalidArgumentError as error:
        raise BuildError(
            f"the files of this build would be refused when they are loaded: {error}. Use the packages of "
            "constraints.txt; if it is their output, report this with that of retinaface-trt doctor --json"
        ) from error
    except OutputError as error:
        raise BuildError(f"the engine could not be written: {error.filename}: {error.strerror}") from error
    return sidecar
