"""The content of a sidecar, typed, and the command that rebuilds the engine."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.config.detection import INPUT_NAME, InputSize, Thresholds
from engine.config.model import RetinaFaceConfig
from engine.config.reader import read_dataclass
from engine.types import WeightsOrigin

SCHEMA = 1

# Options of build_engine.py that repeat one value of a sidecar.
_OPTIONS = {
    "--precision": "precision.mode",
    "--config": "config.name",
    "--weights": "weights.source",
    "--runtime": "runtime.name",
    **{f"--{v.metadata['option'].replace('_', '-')}": f"thresholds.{v.name}" for v in fields(Thresholds)},
    "--embed-plugins": "plugins.embedded",
}


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
    """The input tensor; its shapes are (N, 3, H, W)."""

    name: str
    dtype: str
    minimum: tuple[int, int, int, int]
    optimum: tuple[int, int, int, int]
    maximum: tuple[int, int, int, int]

    @classmethod
    def of(cls, size: InputSize, max_batch: int) -> InputSpec:
        """Return the input of an engine for these sizes and 1 to max_batch images."""
        best = max(1, max_batch // 2)
        return cls(
            INPUT_NAME, "float32", (1, 3, *size.minimum), (best, 3, *size.optimum), (max_batch, 3, *size.maximum)
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
        preprocessing: how pixels become the input, for other programs: `config` says the same.
        thresholds: fixed in the engine.
        detector_sha256: of the ONNX file that was compiled.
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
    preprocessing: dict[str, Any]
    thresholds: Thresholds
    detector_sha256: str

    def to_values(self) -> dict[str, Any]:
        """Return an object of JSON, with lists for tuples, that Sidecar.from_values reads."""
        precision = {"mode": self.precision.mode, **self.precision.evidence}
        values: dict[str, Any] = json.loads(json.dumps({**asdict(self), "precision": precision}))
        return values


@dataclass(frozen=True)
class Sidecar(Identity):
    """The content of NAME.engine.json.

    Attributes:
        files: the engine and the network.
    """

    files: FileEntries

    @classmethod
    def from_values(cls, values: Any) -> Sidecar:
        """Read an object of JSON; InvalidArgumentError names a field that is missing, unknown or of a wrong type."""
        if isinstance(values, dict) and isinstance(record := values.get("precision"), dict):
            # On disk the evidence lies beside the mode.
            evidence = {key: value for key, value in record.items() if key != "mode"}
            mode = {"mode": record["mode"]} if "mode" in record else {}
            values = {**values, "precision": {**mode, "evidence": evidence}}
        return read_dataclass(cls, values)

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.to_values(), indent=2) + "\n"

    def rebuild_command(self, engine_path: Path, maximum: tuple[int, int] | None = None) -> str:
        """Return the command that rebuilds the engine, for inputs up to `maximum` if it is given."""
        return rebuild_command(self.to_values(), engine_path, maximum)


def rebuild_command(values: Any, engine_path: Path, maximum: tuple[int, int] | None = None) -> str:
    """Return the command that rebuilds an engine. Options that the sidecar lacks, whatever its schema, are left out.

    Args:
        values: see Sidecar.to_values.
        engine_path: where the engine goes.
        maximum: (height, width) of the largest input; None is that of the sidecar.
    """
    options: list[Any] = []
    for option, name in _OPTIONS.items():
        value = _find(values, name)
        if isinstance(value, bool):
            options += [option] if value else []
        elif isinstance(value, (str, int, float)):
            options += [option, value]
    shapes = [_find(values, f"io.input.{kind}") for kind in ("minimum", "optimum", "maximum")]
    if all(isinstance(shape, list) and len(shape) == 4 for shape in shapes):
        low, best, high = (shape[2:] for shape in shapes)
        high = list(maximum or high)
        options += ["--input-size", *best, "--max-batch", shapes[2][0]]
        options += [] if low == high else ["--min-input-size", *low, "--max-input-size", *high]
    targets = _find(values, "targets")
    if isinstance(targets, list) and _find(values, "runtime.name") == "tensorrt-rtx":
        options += [word for target in targets for word in ("--target", target)]
    return shlex.join(["python", "build_engine.py", *map(str, options), "--output", str(engine_path)])


def _find(values: Any, name: str) -> Any:
    """Return the value with a dotted name; None where there is none."""
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
