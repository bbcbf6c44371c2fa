"""Engines whose files agree with each other, whatever they hold: what a person who means harm would write."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from engine.files import sha256_of
from engine.sidecar import network_path, sidecar_path
from engine.sidecar.files import METADATA_KEY

Place = tuple[str | int, ...]


def places(values: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the place of every value inside JSON, objects and lists included."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        yield (*place, key)
        yield from places(value, (*place, key))


def changed(values: Any, place: Place, value: Any) -> Any:
    """Return a copy of JSON with another value at a place."""
    changed = copy.deepcopy(values)
    entry = changed
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    return changed


def write_agreeing(engine: Path, values: dict[str, Any], network: onnx.ModelProto | None = None) -> None:
    """Write a sidecar, and the network with the same words and with mended digests.

    Args:
        engine: beside which the files lie.
        values: the sidecar's; its `files` are mended where they can be.
        network: to write; None is the one that lies there.
    """
    path = network_path(engine)
    model = onnx.load(path) if network is None else network
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps({key: value for key, value in values.items() if key != "files"})
    content = model.SerializeToString()
    path.write_bytes(content)
    mended = copy.deepcopy(values)
    if isinstance(files := mended.get("files"), dict) and isinstance(files.get("network"), dict):
        files["network"].update(sha256=sha256_of(content), bytes=len(content))
    sidecar_path(engine).write_text(json.dumps(mended))
