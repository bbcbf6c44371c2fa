"""The content of a sidecar, typed; sidecar.schema reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.config.detection import INPUT_NAME, INTEGER_OUTPUTS, InputSize, Thresholds, output_shapes
from engine.config.model import RetinaFaceConfig
from engine.config.reader import ADDED
from engine.mesh.dense.output import MeshOutput
from engine.sidecar.rebuild import rebuild_command
from engine.types import WeightsOrigin

SCHEMA = 1
INPUT_DTYPES = ("float32", "float16")

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class PrecisionRecord:
    """The precision of the network.

    Attributes:
        mode: one of config.formats.PRECISIONS.
        evidence: the other fields of the record: layers kept in a higher precision, agreement with float32, ...
    """

    mode: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class BuilderVersion:
    """The library that built the engine: "tensorrt" or "tensorrt-rtx"."""

    name: str
    version: str


@dataclass(frozen=True)
class Plugins:
    """The plugins of the engine.

    Attributes:
        versions: by name.
        library_sha256: of the plugin library that built the engine.
        embedded: whether the plan carries that library.
    """

    versions: dict[str, str]
    library_sha256: str
    embedded: bool


@dataclass(frozen=True)
class InputSpec:
    """The input tensor; its shapes are (N, 3, H, W).

    Attributes:
        name: of the tensor.
        dtype: of its values: float16 where the network begins in that, else float32.
        minimum: smallest shape.
        optimum: that the engine is tuned for, besides single images.
        maximum: largest shape.
    """

    name: str
    dtype: str
    minimum: Shape
    optimum: Shape
    maximum: Shape

    @classmethod
    def of(cls, size: InputSize, max_batch: int, dtype: str = "float32") -> InputSpec:
        """Return the input of an engine for these sizes and 1 to max_batch images."""
        return cls(
            INPUT_NAME, dtype, (1, 3, *size.minimum), (max_batch, 3, *size.optimum), (max_batch, 3, *size.maximum)
        )

    @property
    def size(self) -> InputSize:
        """Allowed heights and widths."""
        return InputSize(self.minimum[2:], self.optimum[2:], self.maximum[2:])


@dataclass(frozen=True)
class OutputSpec:
    """An output tensor; its shape begins with "N", the batch."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class TensorSpecs:
    """The tensors of the engine."""

    input: InputSpec
    outputs: tuple[OutputSpec, ...]

    @classmethod
    def of(
        cls, given: InputSpec, config: RetinaFaceConfig, thresholds: Thresholds, meshes: MeshOutput | None
    ) -> TensorSpecs:
        """Return the tensors of an engine with this input."""
        shapes = {**output_shapes(config, thresholds), **(dict.fromkeys(meshes.names, meshes.shape) if meshes else {})}
        outputs = (
            OutputSpec(name, "int32" if name in INTEGER_OUTPUTS else "float32", ("N", *shape))
            for name, shape in shapes.items()
        )
        return cls(given, tuple(outputs))


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the input, for other programs.

    Attributes:
        resize: in words.
        color_order: as in RetinaFaceConfig, like the others.
        mean: see there.
        std: see there.
        pad_value: see there.
    """

    resize: str
    color_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad_value: tuple[int, int, int]

    @classmethod
    def of(cls, config: RetinaFaceConfig) -> Preprocessing:
        """Return that of a model."""
        resize = "letterbox: bilinear, aspect kept, centred"
        return cls(resize, config.color_order, config.mean, config.std, config.pad_value)


@dataclass(frozen=True)
class FileEntry:
    """One file: its name when it was built, digest and size."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class FileEntries:
    """The files beside the sidecar."""

    engine: FileEntry
    network: FileEntry


@dataclass(frozen=True)
class Identity:
    """What an engine is. The network file carries a copy of it.

    Attributes:
        schema: version of this layout.
        project_version: of the package that built the engine.
        config: of the model.
        weights: that the engine holds.
        precision: of the network.
        calibration: what a quantised engine was calibrated with; None for the others.
        runtime: what built the engine.
        targets: GPU architectures.
        plugins: of the engine.
        io: input and output tensors.
        preprocessing: what `config` says about pixels.
        thresholds: fixed in the engine.
        detector_sha256: of the ONNX file that was compiled.
        meshes: among its outputs; None if there are none. Only files of engines that have some say so.
    """

    schema: int
    project_version: str
    config: RetinaFaceConfig
    weights: WeightsOrigin
    precision: PrecisionRecord
    calibration: dict[str, Any] | None
    runtime: BuilderVersion
    targets: tuple[str, ...]
    plugins: Plugins
    io: TensorSpecs
    preprocessing: Preprocessing
    thresholds: Thresholds
    detector_sha256: str
    meshes: MeshOutput | None = field(default=None, kw_only=True, metadata={ADDED: True})

    def to_values(self) -> dict[str, Any]:
        """Return an object of JSON, with lists for tuples, that schema.read_sidecar reads."""
        precision = {"mode": self.precision.mode, **self.precision.evidence}
        content = {**asdict(self), "config": self.config.to_dict(), "precision": precision}
        if self.meshes is None:
            del content["meshes"]
        else:
            content["meshes"] = self.meshes.to_values()
        values: dict[str, Any] = json.loads(json.dumps(content))
        return values


@dataclass(frozen=True)
class Sidecar(Identity):
    """The content of NAME.engine.json.

    Attributes:
        files: the engine and the network.
    """

    files: FileEntries

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.to_values(), indent=2) + "\n"

    def rebuild_command(self, engine_path: Path, maximum: tuple[int, int] | None = None) -> str:
        """Return the command that rebuilds the engine, for inputs up to `maximum` if it is given."""
        return rebuild_command(self.to_values(), engine_path, maximum)
