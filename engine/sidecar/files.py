"""The files of an engine: their names, and the check at load that they belong together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import EngineLoadError, InvalidArgumentError
from engine.files import sha256_of, sha256_of_file
from engine.mesh.dense.weights import DecoderWeights
from engine.sidecar.content import FileEntry, Identity, Sidecar
from engine.sidecar.decoder import DECODER_KEY, decoder_of, packed
from engine.sidecar.network import check_network
from engine.sidecar.rebuild import rebuild_command
from engine.sidecar.schema import read_sidecar
from engine.untrusted.files import open_regular, read_file
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_NETWORK_BYTES, MAX_PLAN_BYTES, MAX_SIDECAR_BYTES
from engine.untrusted.onnx_network import read_network
from engine.version import project_version
from engine.writing import FilesTogether

if TYPE_CHECKING:
    import onnx

ENGINE_SUFFIX = ".engine"
NETWORK_SUFFIX = ".network.onnx"
METADATA_KEY = "retinaface-trt"
_MOST_PROBLEMS = 20  # in one message


@dataclass(frozen=True)
class EngineFiles:
    """An engine and the files beside it, read and checked.

    Attributes:
        path: of the engine.
        plan: its bytes.
        network: bytes of the typed ONNX network.
        sidecar: what both are.
        decoder: of meshes, if the engine has some among its outputs.
    """

    path: Path
    plan: bytes
    network: bytes
    sidecar: Sidecar
    decoder: DecoderWeights | None = None


def is_engine(source: str | os.PathLike[str]) -> bool:
    """Whether a name is that of an engine's file, or of one that lies beside it, and not of weights."""
    return os.fspath(source).endswith((ENGINE_SUFFIX, NETWORK_SUFFIX, f"{ENGINE_SUFFIX}.json"))


def sidecar_path(engine_path: Path) -> Path:
    """NAME.engine.json for NAME.engine."""
    return engine_path.with_name(engine_path.name + ".json")


def network_path(engine_path: Path) -> Path:
    """NAME.network.onnx for NAME.engine."""
    return engine_path.with_name(engine_path.name.removesuffix(ENGINE_SUFFIX) + NETWORK_SUFFIX)


def files_of(engine_path: Path) -> FilesTogether:
    """Return the three files, to be written and read together."""
    return FilesTogether(network_path(engine_path), sidecar_path(engine_path), engine_path)


def engine_sha256(path: Path) -> str:
    """Return the SHA-256 of an engine, in hexadecimal; OSError if it cannot be read."""
    files = files_of(path)
    return files.read(lambda: sha256_of_file(files.locate(path)))


def describe_file(path: Path, content: bytes) -> FileEntry:
    """Return the sidecar's entry for one file."""
    return FileEntry(path.name, sha256_of(content), len(content))


def sign_network(network: onnx.ModelProto, identity: Identity, decoder: bytes | None = None) -> bytes:
    """Return the network's bytes with a copy of the sidecar's identity in its metadata.

    Args:
        network: that the CPU runs.
        identity: of the engine.
        decoder: content of a mesh decoder's file, which goes there too.
    """
    signed = type(network)()
    signed.CopyFrom(network)
    texts = {METADATA_KEY: json.dumps(identity.to_values())}
    if decoder is not None:
        texts[DECODER_KEY] = packed(decoder)
    for key, text in texts.items():
        entry = signed.metadata_props.add()
        entry.key, entry.value = key, text
    return bytes(signed.SerializeToString(deterministic=True))


def check_files(sidecar: str, network: bytes) -> None:
    """Check the content of a sidecar and of a network before they are written: that read_engine will not refuse them.

    Raises:
        InvalidArgumentError: it would.
    """
    content, graph = read_sidecar(parse_json(sidecar)), read_network(network)
    check_network(graph, content.config, content.io.input.size)
    decoder_of(graph.metadata, content.meshes)


def read_engine(path: Path) -> EngineFiles:
    """Read an engine with its sidecar and network, and check that they belong together and are as builds write them.

    Args:
        path: of NAME.engine.

    Raises:
        EngineLoadError: a file is missing or damaged; the sidecar has another schema or version, or a field that does
            not fit; or it differs from the files; or the network is none that a build writes. The message names the
            field or the node, and the command that rebuilds.
    """
    for suffix, what in ((NETWORK_SUFFIX, "network"), (f"{ENGINE_SUFFIX}.json", "sidecar")):
        if path.name.endswith(suffix):
            engine = path.with_name(path.name.removesuffix(suffix) + ENGINE_SUFFIX)
            raise EngineLoadError(f"{path} is the {what} that lies beside an engine, expected the engine: {engine}")
    files = files_of(path)
    return files.read(lambda: _read_engine(path, files))


def _read_engine(path: Path, files: FilesTogether) -> EngineFiles:
    with _named("the engine", path):  # if it is missing, that is said first
        open_regular(files.locate(path)).close()
    text = _read(sidecar_path(path), files, "its sidecar, which says what the engine is,", MAX_SIDECAR_BYTES)
    sidecar = _parse(text, path)  # before gigabytes are read
    plan = _read(path, files, "the engine", MAX_PLAN_BYTES)
    network = _read(network_path(path), files, "its network, which the CPU runs,", MAX_NETWORK_BYTES)
    built = sidecar.to_values()
    problems = [
        *_file_problems("engine", path, plan, sidecar.files.engine),
        *_file_problems("network", network_path(path), network, sidecar.files.network),
    ]
    try:
        if not problems:
            graph = read_network(network)
            built, problems = _identity_problems(graph.metadata, sidecar)
        if not problems:
            check_network(graph, sidecar.config, sidecar.io.input.size)
            decoder = decoder_of(graph.metadata, sidecar.meshes)
    except InvalidArgumentError as error:
        raise EngineLoadError(
            f"the network {network_path(path)} {error}. Take the file of the build, or rebuild: "
            f"{rebuild_command(built, path)}"
        ) from error
    if problems:
        raise EngineLoadError(
            f"{path} does not match its sidecar: {'; '.join(problems)}. Restore the file, or rebuild: "
            f"{rebuild_command(built, path)}"
        )
    return EngineFiles(path, plan, network, sidecar, decoder)


def _read(path: Path, files: FilesTogether, what: str, at_most: int) -> bytes:
    with _named(what, path):
        return read_file(files.locate(path), at_most)


@contextmanager
def _named(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError into an EngineLoadError that says which file it is about."""
    try:
        yield
    except OSError as error:
        raise EngineLoadError(
            f"{what} {path} cannot be read: {error.strerror}. NAME.engine, NAME.engine.json and NAME.network.onnx "
            "belong together: keep them in one folder, or build them with python build_engine.py"
        ) from error


def _parse(text: bytes, engine_path: Path) -> Sidecar:
    values = None
    try:
        values = parse_json(text)
        return read_sidecar(values)
    except InvalidArgumentError as error:
        raise EngineLoadError(
            f"sidecar {sidecar_path(engine_path)}: {error}. Rebuild the engine: {rebuild_command(values, engine_path)}"
        ) from error


def _file_problems(kind: str, path: Path, content: bytes, entry: FileEntry) -> list[str]:
    actual = describe_file(path, content)
    # A renamed engine is still the same engine.
    return [
        f"files.{kind}.{key} is {getattr(entry, key)!r}, but {path.name} has {getattr(actual, key)!r}"
        for key in ("bytes", "sha256")
        if getattr(entry, key) != getattr(actual, key)
    ]


def _identity_problems(metadata: Mapping[str, str], sidecar: Sidecar) -> tuple[dict[str, Any], list[str]]:
    """Return the identity in the network's metadata, and how the sidecar differs from it."""
    identity = {key: value for key, value in sidecar.to_values().items() if key != "files"}
    try:
        built = parse_json(metadata[METADATA_KEY])
    except (KeyError, InvalidArgumentError):
        return identity, ["the network does not say which build it belongs to"]
    problems = list(islice(_differences("", built, identity), _MOST_PROBLEMS))
    ours = project_version()
    if _release(sidecar.project_version) != _release(ours):
        problems.append(f"project_version is {sidecar.project_version}, but {ours} is installed")
    return built, problems


def _differences(prefix: str, built: Any, given: Any) -> Iterator[str]:
    if isinstance(built, dict) and isinstance(given, dict):
        for key in sorted(built.keys() | given.keys()):
            yield from _differences(f"{prefix}.{key}".lstrip("."), built.get(key), given.get(key))
    elif built != given:
        yield f"{prefix} is {given!r:.200}, but the engine was built with {built!r:.200}"


def _release(version: str) -> tuple[str, ...]:
    """Engines of one minor release are interchangeable."""
    return tuple(version.split(".")[:2])
