"""The sidecar: what an engine is, in a JSON file beside it, and the check that both still belong together.

A built engine is three files: NAME.engine, NAME.engine.json (the sidecar) and NAME.network.onnx (the typed network,
which the CPU session runs). The sidecar holds digests of the other two, and the network file carries a copy of
everything else in the sidecar, so that a file of another build or an edited setting is found and named.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.model import RetinaFaceConfig
from engine.errors import EngineLoadError, RetinaFaceError
from engine.files import sha256_of
from engine.version import project_version

if TYPE_CHECKING:
    import onnx

SCHEMA = 1
METADATA_KEY = "retinaface-trt"
ENGINE_SUFFIX = ".engine"


@dataclass(frozen=True)
class Sidecar:
    """The content of NAME.engine.json.

    Attributes:
        schema: version of this layout.
        project_version: of the package that built the engine.
        config: RetinaFaceConfig as plain values.
        weights: WeightsOrigin as plain values.
        precision: mode, and the layers kept in a higher precision.
        calibration: what an INT8 engine was calibrated with; None for the others.
        runtime: name and version of the TensorRT that built the engine.
        targets: GPU architectures.
        plugins: versions by name, digest of the library, whether the plan carries it.
        io: name, type and shapes of the input (minimum, optimum, maximum) and of the outputs.
        preprocessing: how pixels become the input.
        thresholds: fixed in the engine.
        detector_sha256: of the ONNX file that was compiled.
        files: name, digest and size of the engine and the network.
    """

    schema: int
    project_version: str
    config: dict[str, Any]
    weights: dict[str, Any]
    precision: dict[str, Any]
    calibration: dict[str, Any] | None
    runtime: dict[str, str]
    targets: list[str]
    plugins: dict[str, Any]
    io: dict[str, Any]
    preprocessing: dict[str, Any]
    thresholds: dict[str, Any]
    detector_sha256: str
    files: dict[str, dict[str, Any]]

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def identity(self) -> dict[str, Any]:
        """Return everything but the files: what the network file carries a copy of."""
        return {key: value for key, value in json.loads(self.to_json()).items() if key != "files"}

    def model_config(self) -> RetinaFaceConfig:
        """Return the model's settings."""
        return RetinaFaceConfig.from_dict(self.config)

    def rebuild_command(self, engine_path: Path, maximum: tuple[int, int] | None = None) -> str:
        """Return the command that builds such an engine anew, for inputs up to `maximum` where that is given."""
        try:
            options = self._options(maximum or tuple(self.io["input"]["maximum"][2:]))
            return shlex.join(["python", "build_engine.py", *options, "--output", str(engine_path)])
        except (KeyError, TypeError, IndexError, AttributeError):  # an edited sidecar
            return "python build_engine.py"

    def _options(self, maximum: tuple[int, int]) -> list[str]:
        spec, thresholds = self.io["input"], self.thresholds
        sizes = {name: [str(side) for side in spec[name][2:]] for name in ("minimum", "optimum")}
        sizes["maximum"] = [str(side) for side in maximum]
        options = ["--precision", self.precision["mode"], "--config", self.config["name"]]
        options += ["--weights", self.weights["source"], "--input-size", *sizes["optimum"]]
        if sizes["minimum"] != sizes["maximum"]:
            options += ["--min-input-size", *sizes["minimum"], "--max-input-size", *sizes["maximum"]]
        options += ["--max-batch", str(spec["maximum"][0]), "--runtime", self.runtime["name"]]
        if self.runtime["name"] == "tensorrt-rtx":
            options += [word for target in self.targets for word in ("--target", target)]
        for name in ("score", "iou"):
            options += [f"--{name}-threshold", str(thresholds[name])]
        options += ["--top-k", str(thresholds["top_k"]), "--max-detections", str(thresholds["max_detections"])]
        options += ["--voting"] if thresholds["voting"] else []
        return options + (["--embed-plugins"] if self.plugins["embedded"] else [])


@dataclass(frozen=True)
class EngineFiles:
    """An engine and what lies beside it, read and checked.

    Attributes:
        path: of the engine.
        plan: its bytes.
        network: bytes of the typed ONNX network.
        sidecar: what both are.
    """

    path: Path
    plan: bytes
    network: bytes
    sidecar: Sidecar


def sidecar_path(engine_path: Path) -> Path:
    """NAME.engine.json for NAME.engine."""
    return engine_path.with_name(engine_path.name + ".json")


def network_path(engine_path: Path) -> Path:
    """NAME.network.onnx for NAME.engine."""
    return engine_path.with_name(engine_path.name.removesuffix(ENGINE_SUFFIX) + ".network.onnx")


def describe_file(path: Path, content: bytes) -> dict[str, Any]:
    """Return the sidecar's entry for one file."""
    return {"name": path.name, "sha256": sha256_of(content), "bytes": len(content)}


def sign_network(network: onnx.ModelProto, identity: Mapping[str, Any]) -> bytes:
    """Return the network's bytes with a copy of the sidecar's identity in its metadata."""
    signed = type(network)()
    signed.CopyFrom(network)
    entry = signed.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(identity)
    return bytes(signed.SerializeToString(deterministic=True))


def read_engine(path: Path, network_metadata: Callable[[bytes], Mapping[str, str]]) -> EngineFiles:
    """Read an engine with its sidecar and network, and check that they belong together.

    Args:
        path: of NAME.engine.
        network_metadata: from the network's bytes to its metadata.

    Raises:
        EngineLoadError: a file is missing or damaged, the sidecar is of another schema or version, or something in
            it differs from the files; the message names the difference and the command that rebuilds.
    """
    plan = _read(path, "the engine")
    text = _read(sidecar_path(path), "its sidecar, which says what the engine is,")
    sidecar = _parse(text, sidecar_path(path))
    network = _read(network_path(path), "its network, which the CPU runs,")
    problems = [
        *_file_problems("engine", path, plan, sidecar),
        *_file_problems("network", network_path(path), network, sidecar),
    ]
    built = sidecar
    if not problems:
        built, problems = _identity_problems(network_metadata(network), sidecar)
    if problems:
        raise EngineLoadError(
            f"{path} does not match its sidecar: {'; '.join(problems)}. Restore the file, or rebuild: "
            f"{built.rebuild_command(path)}"
        )
    return EngineFiles(path, plan, network, sidecar)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineLoadError(
            f"{what} {path} cannot be read: {error.strerror}. NAME.engine, NAME.engine.json and NAME.network.onnx "
            "belong together: keep them in one folder, or build them with python build_engine.py"
        ) from error


def _parse(text: bytes, path: Path) -> Sidecar:
    rebuild = "rebuild the engine with python build_engine.py"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineLoadError(f"sidecar {path} is not JSON ({error}): {rebuild}") from error
    fields = Sidecar.__dataclass_fields__
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        given = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise EngineLoadError(f"sidecar {path} has schema {given!r}, expected {SCHEMA}: {rebuild}")
    if values.keys() != fields.keys():
        missing, unknown = sorted(fields.keys() - values.keys()), sorted(values.keys() - fields.keys())
        raise EngineLoadError(f"sidecar {path} lacks {missing} and has unknown keys {unknown}: {rebuild}")
    for key, field in fields.items():
        kind = {"int": int, "str": str, "list[str]": list}.get(str(field.type), dict)
        if not isinstance(values[key], kind) and not (key == "calibration" and values[key] is None):
            raise EngineLoadError(f"sidecar {path}: {key} is {values[key]!r}, expected a {kind.__name__}: {rebuild}")
    sidecar = Sidecar(**values)
    try:
        sidecar.model_config()
    except RetinaFaceError as error:
        raise EngineLoadError(f"sidecar {path}: {error}; {rebuild}") from error
    return sidecar


def _file_problems(kind: str, path: Path, content: bytes, sidecar: Sidecar) -> list[str]:
    entry = sidecar.files.get(kind)
    if not isinstance(entry, dict):
        return [f"files.{kind} is missing"]
    actual = describe_file(path, content)
    # A renamed engine is still the same engine.
    return [
        f"files.{kind}.{key} is {entry.get(key)!r}, but {path.name} has {actual[key]!r}"
        for key in ("bytes", "sha256")
        if entry.get(key) != actual[key]
    ]


def _identity_problems(metadata: Mapping[str, str], sidecar: Sidecar) -> tuple[Sidecar, list[str]]:
    """Return the sidecar as it was built, and what differs from it."""
    try:
        identity = json.loads(metadata[METADATA_KEY])
        built = Sidecar(**identity, files=sidecar.files)
    except (KeyError, ValueError, TypeError):
        return sidecar, ["the network does not say which build it belongs to"]
    problems = list(_differences("", identity, sidecar.identity()))
    ours = project_version()
    if _release(sidecar.project_version) != _release(ours):
        problems.append(f"project_version is {sidecar.project_version}, but {ours} is installed")
    return built, problems


def _differences(prefix: str, built: Any, given: Any) -> list[str]:
    if isinstance(built, dict) and isinstance(given, dict):
        return [
            line
            for key in sorted(built.keys() | given.keys())
            for line in _differences(f"{prefix}.{key}".lstrip("."), built.get(key), given.get(key))
        ]
    return [] if built == given else [f"{prefix} is {given!r}, but the engine was built with {built!r}"]


def _release(version: str) -> tuple[str, ...]:
    """Engines of one minor release are interchangeable."""
    return tuple(version.split(".")[:2])
