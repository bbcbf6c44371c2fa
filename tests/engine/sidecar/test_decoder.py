"""The mesh decoder in an engine's network: it is the one that the sidecar names, or the engine is refused."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from engine import EngineLoadError, InvalidArgumentError
from engine.files import sha256_of
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.output import MeshOutput
from engine.mesh.dense.source import MeshOptions
from engine.mesh.levels import make_levels
from engine.sidecar import network_path, read_engine, sidecar_path
from engine.sidecar.decoder import DECODER_KEY, decoder_of, packed
from engine.sidecar.rebuild import rebuild_command
from engine.untrusted.limits import MAX_DECODER_BYTES
from tests.engine.mesh.meshes import mask
from tests.engine.sidecar.agreeing import write_agreeing
from tests.support.engines import build_stand_in


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine with meshes of 42 vertices, and the decoder's file."""
    folder = tmp_path_factory.mktemp("stand-in")
    torch.manual_seed(1)
    MeshDecoder(make_levels(mask(7, 6))).weights().save(folder / "dense.npz")
    meshes = MeshOptions(folder / "dense.npz", 4)
    build_stand_in(folder / "faces.engine", config="mobilenet0.25-dense", meshes=meshes)
    return folder / "faces.engine"


@pytest.fixture
def copied(original: Path, tmp_path: Path) -> Path:
    for path in original.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / original.name


def test_the_decoder_is_that_of_the_build(original: Path) -> None:
    files, content = read_engine(original), (original.parent / "dense.npz").read_bytes()
    decoder = str(original.parent / "dense.npz")
    assert files.sidecar.meshes == MeshOutput(decoder, sha256_of(content), 42, 4)
    assert files.decoder is not None
    assert len(files.decoder.levels.topology.vertices) == 42
    command = files.sidecar.rebuild_command(original).split()
    assert command[command.index("--mesh-decoder") + 1] == decoder
    assert command[command.index("--max-meshes") + 1] == "4"
    assert "--mesh-colours" not in command
    assert files.sidecar.to_values()["meshes"].keys() == {"decoder", "sha256", "num_vertices", "max_meshes"}
    assert rebuild_command(files.sidecar.to_values(), original) == files.sidecar.rebuild_command(original)


def test_colours_are_in_the_sidecar(original: Path) -> None:
    files = read_engine(original)
    assert files.sidecar.meshes is not None
    coloured = replace(files.sidecar, meshes=replace(files.sidecar.meshes, colours=True))
    assert coloured.to_values()["meshes"]["colours"] is True
    assert "--mesh-colours" in coloured.rebuild_command(original).split()


def _texts(change: Callable[[bytes], str]) -> Callable[[onnx.ModelProto], None]:
    def edit(network: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in network.metadata_props if entry.key == DECODER_KEY)
        entry.value = change(base64.b64decode(entry.value))

    return edit


def _remove(network: onnx.ModelProto) -> None:
    kept = [entry for entry in network.metadata_props if entry.key != DECODER_KEY]
    del network.metadata_props[:]
    network.metadata_props.extend(kept)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_remove, "has no mesh decoder, or another one than that of its sidecar"),
        (
            _texts(lambda content: packed(content + b"0")),
            "has no mesh decoder, or another one than that of its sidecar",
        ),
        (_texts(lambda content: packed(content)[:-1]), "has a mesh decoder that is damaged: Incorrect padding"),
        (_texts(lambda content: "é"), "has a mesh decoder that is damaged: "),
        (_texts(lambda content: "*" + packed(content)), "has a mesh decoder that is damaged: "),
    ],
)
def test_another_decoder_is_refused(
    original: Path, copied: Path, edit: Callable[[onnx.ModelProto], None], said: str
) -> None:
    network = onnx.load(network_path(original))
    edit(network)
    write_agreeing(copied, json.loads(sidecar_path(original).read_text()), network)
    with pytest.raises(EngineLoadError, match=rf"the network .*faces.network.onnx {said}"):
        read_engine(copied)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_vertices": 41}, "of 42 vertices, expected 41"),
        ({"sha256": "0" * 64}, "has no mesh decoder, or another one"),
        ({"max_meshes": 0}, "meshes: max_meshes is 0, expected 1 to 256"),
        ({"max_meshes": 257}, "meshes: max_meshes is 257, expected 1 to 256"),
        ({"num_vertices": 9000}, "meshes: num_vertices is 9000, expected 1 to 8192"),
        ({"decoder": ""}, "meshes: decoder is '', expected 1 to 4096 characters"),
        ({"sha256": "x"}, "meshes.sha256 is 'x', expected 64 hexadecimal digits"),
        ({"more": 1}, "meshes has unknown keys"),
    ],
)
def test_a_sidecar_that_says_something_else_is_refused(
    original: Path, copied: Path, values: dict[str, object], said: str
) -> None:
    sidecar = json.loads(sidecar_path(original).read_text())
    sidecar["meshes"].update(values)
    for output in sidecar["io"]["outputs"]:
        if output["name"] == "vertices":
            output["shape"][1:3] = sidecar["meshes"]["max_meshes"], sidecar["meshes"]["num_vertices"]
    write_agreeing(copied, sidecar)
    with pytest.raises(EngineLoadError, match=said):
        read_engine(copied)


def test_a_decoder_without_meshes_is_refused(original: Path, copied: Path) -> None:
    sidecar = json.loads(sidecar_path(original).read_text())
    del sidecar["meshes"]
    sidecar["io"]["outputs"].pop()
    write_agreeing(copied, sidecar)
    with pytest.raises(EngineLoadError, match="has a mesh decoder, but its sidecar has no meshes"):
        read_engine(copied)


def test_a_decoder_that_is_none_or_large_is_refused() -> None:
    content = b"PK and no more"
    meshes = MeshOutput("a", sha256_of(content), 42, 4)
    with pytest.raises(InvalidArgumentError, match="has a mesh decoder that cannot be used: the weights of a dense"):
        decoder_of({DECODER_KEY: packed(content)}, meshes)
    text = "A" * (MAX_DECODER_BYTES * 4 // 3 + 5)
    with pytest.raises(InvalidArgumentError, match="has a mesh decoder of more than 16,777,216 bytes"):
        decoder_of({DECODER_KEY: text}, meshes)
