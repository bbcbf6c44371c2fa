"""What a sidecar may hold: types, ranges, and what follows from other fields. Whoever reads one relies on this.

A sidecar and a network that agree with each other say nothing about their truth: both may have been written by hand.
JSON itself is bounded by untrusted.json_text, the model's settings and the thresholds by the classes that hold them.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from engine.config.detection import INPUT_NAME, MAX_BATCH
from engine.config.formats import PRECISIONS
from engine.config.reader import read_dataclass
from engine.errors import InvalidArgumentError
from engine.sidecar.content import INPUT_DTYPES, SCHEMA, FileEntry, Preprocessing, Sidecar, TensorSpecs
from engine.untrusted.limits import MAX_NETWORK_BYTES, MAX_PLAN_BYTES

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")
_NAME = re.compile(r".{1,64}")
_RUNTIME = re.compile(r"tensorrt(-rtx)?")
_TARGET = re.compile(r"sm\d{2,3}|portable|this GPU")
_PLUGIN = re.compile(r"\w{1,64}", re.ASCII)
_FILE = re.compile(r"[^/\0]{1,255}")
_MOST_TARGETS = _MOST_PLUGINS = 16


def read_sidecar(values: Any) -> Sidecar:
    """Read a sidecar from an object of JSON.

    Args:
        values: as untrusted.json_text.parse_json returned them.

    Raises:
        InvalidArgumentError: another schema; or a field is missing, unknown, of a wrong type, out of range, or not what
            follows from the others. The message begins with its dotted name.
    """
    schema = values.get("schema", SCHEMA) if isinstance(values, dict) else SCHEMA
    _require(type(schema) is not int or schema == SCHEMA, "schema", schema, str(SCHEMA))
    if isinstance(values, dict) and isinstance(record := values.get("precision"), dict):
        # On disk the evidence lies beside the mode.
        evidence = {key: value for key, value in record.items() if key != "mode"}
        mode = {"mode": record["mode"]} if "mode" in record else {}
        values = {**values, "precision": {**mode, "evidence": evidence}}
    sidecar = read_dataclass(Sidecar, values)
    _check_builder(sidecar)
    _check_input(sidecar)
    _check_consequences(sidecar)
    _check_file("files.engine", sidecar.files.engine, MAX_PLAN_BYTES)
    _check_file("files.network", sidecar.files.network, MAX_NETWORK_BYTES)
    return sidecar


def _check_builder(sidecar: Sidecar) -> None:
    runtime, plugins, targets = sidecar.runtime, sidecar.plugins, sidecar.targets
    _match(_VERSION, "project_version", sidecar.project_version, "a version")
    if sidecar.weights.sha256 is not None:
        _match(_SHA256, "weights.sha256", sidecar.weights.sha256, "64 hexadecimal digits")
    if sidecar.weights.known_as is not None:
        _match(_NAME, "weights.known_as", sidecar.weights.known_as, "a name")
    modes = ", ".join(PRECISIONS)
    _require(sidecar.precision.mode in PRECISIONS, "precision.mode", sidecar.precision.mode, f"one of: {modes}")
    _match(_RUNTIME, "runtime.name", runtime.name, "tensorrt or tensorrt-rtx")
    _match(_VERSION, "runtime.version", runtime.version, "a version")
    _require(1 <= len(targets) <= _MOST_TARGETS, "targets", targets, f"1 to {_MOST_TARGETS} of them")
    for index, target in enumerate(targets):
        _match(_TARGET, f"targets[{index}]", target, "smNN, portable or this GPU")
    many = len(plugins.versions) > _MOST_PLUGINS
    _require(not many, "plugins.versions", plugins.versions, f"at most {_MOST_PLUGINS} plugins")
    for name, version in plugins.versions.items():
        _match(_PLUGIN, "plugins.versions", name, "names of plugins")
        _match(_VERSION, f"plugins.versions.{name}", version, "a version")
    _match(_SHA256, "plugins.library_sha256", plugins.library_sha256, "64 hexadecimal digits")
    _match(_SHA256, "detector_sha256", sidecar.detector_sha256, "64 hexadecimal digits")


def _check_input(sidecar: Sidecar) -> None:
    given = sidecar.io.input
    shapes = {"minimum": given.minimum, "optimum": given.optimum, "maximum": given.maximum}
    for name, shape in shapes.items():
        fits = 1 <= shape[0] <= MAX_BATCH and shape[1] == 3
        _require(fits, f"io.input.{name}", shape, f"(1 to {MAX_BATCH}, 3, height, width)")
    least, best, most = (shape[0] for shape in shapes.values())
    _require(least == 1 and best <= most, "io.input", shapes, "batches from 1, which do not decrease")
    try:
        given.size.check(sidecar.config)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"io.input: {error}") from error


def _check_consequences(sidecar: Sidecar) -> None:
    """Check what repeats other fields: the tensors' names, types and shapes, and the preprocessing."""
    given = sidecar.io.input
    _require(given.name == INPUT_NAME, "io.input.name", given.name, repr(INPUT_NAME))
    _require(given.dtype in INPUT_DTYPES, "io.input.dtype", given.dtype, " or ".join(INPUT_DTYPES))
    if sidecar.meshes is not None:
        _match(_SHA256, "meshes.sha256", sidecar.meshes.sha256, "64 hexadecimal digits")
        try:
            sidecar.meshes.check(sidecar.config, sidecar.thresholds)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"meshes: {error}") from error
    expected = TensorSpecs.of(given, sidecar.config, sidecar.thresholds, sidecar.meshes)
    _require(sidecar.io.outputs == expected.outputs, "io.outputs", sidecar.io.outputs, str(expected.outputs))
    found, preprocessing = asdict(sidecar.preprocessing), asdict(Preprocessing.of(sidecar.config))
    for field, wanted in preprocessing.items():
        source = f" as config.{field}" if field != "resize" else ""
        _require(found[field] == wanted, f"preprocessing.{field}", found[field], f"{wanted!r}{source}")


def _check_file(name: str, entry: FileEntry, largest: int) -> None:
    _match(_FILE, f"{name}.name", entry.name, "the name of a file")
    _match(_SHA256, f"{name}.sha256", entry.sha256, "64 hexadecimal digits")
    _require(0 <= entry.bytes <= largest, f"{name}.bytes", entry.bytes, f"0 to {largest}")


def _match(pattern: re.Pattern[str], name: str, given: str, expected: str) -> None:
    _require(pattern.fullmatch(given) is not None, name, given, expected)


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"{name} is {given!r:.200}, expected {expected}")
