"""Engines whose three files agree, digests and all: what someone would write who knows the checks."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from engine import TRTRetinaFace
from engine.backend.tensorrt import Backend
from engine.build import pipeline
from engine.build.pipeline import BuildOptions, build_engine
from engine.build.plan import Plan
from engine.config.detection import InputSize
from engine.config.formats import FP8, INT8, NumberFormat
from engine.files import sha256_of
from engine.precision.options import TypedNetwork
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.writer import write_quantised
from engine.sidecar import network_path, sidecar_path
from engine.sidecar.files import METADATA_KEY
from tests.fuzz.mutate.content import mutated
from tests.fuzz.mutate.protobuf import Field, fields_of, message_of, mutated_message
from tests.fuzz.mutate.values import mutated_values, to_text
from tests.fuzz.target import Files, FileTarget
from tests.support.graphs import SIZE, Builder, images, quantised

_PLAIN = ("fp32", "fp16")
_QUANTISED = {"int8": (INT8,), "fp8": (FP8,), "mixed": (INT8, FP8)}
_FP8_CHANNELS = 16  # a multiple, which TensorRT needs
_METADATA = 14  # the field of ONNX's ModelProto
_BYTES = 2  # wire type of Protocol Buffers
_IMAGE = np.zeros((40, 30, 3), np.uint8)


class Engines(FileTarget):
    """The base of all kinds of targets: engines of a small network, built but for the plan."""

    device = "cpu:onnxruntime"
    precisions: tuple[str, ...] = _PLAIN

    def __init__(self, folder: Path) -> None:
        """Build the engines that are changed."""
        super().__init__(folder)
        self._path = folder / "faces.engine"
        self.named = (str(self._path), str(network_path(self._path)))
        self._built = [_build(folder / f"{precision}.engine", precision) for precision in self.precisions]

    def read(self, made: Files) -> None:
        """Load the engine and run it."""
        with TRTRetinaFace(self._path, self.device, threads=1) as detector:
            detector.detect(_IMAGE)

    def agreeing(self, values: Any, network: bytes, said: Any = None) -> Files:
        """Return the three files, with right digests.

        Args:
            values: of the sidecar.
            network: without metadata.
            said: what the network says of itself; None is what the sidecar says.
        """
        if said is None:
            said = values
            if isinstance(values, dict):
                said = {key: value for key, value in values.items() if key != "files"}
        entry = message_of([(1, _BYTES, METADATA_KEY.encode()), (2, _BYTES, to_text(said).encode())])
        content = network + message_of([(_METADATA, _BYTES, entry)])
        if isinstance(values, dict) and isinstance(files := values.get("files"), dict):
            described = files.get("network")
            if isinstance(described, dict):
                right = {"sha256": sha256_of(content), "bytes": len(content)}
                values = {**values, "files": {**files, "network": {**described, **right}}}
        return self.files_of(to_text(values).encode(), content)

    def files_of(self, sidecar: bytes, network: bytes) -> Files:
        """Return the three files."""
        return {
            self._path.name: _PLAN,
            sidecar_path(self._path).name: sidecar,
            network_path(self._path).name: network,
        }


_PLAN = b"a plan"


class Sidecars(Engines):
    """Sidecars with other values, which the network repeats as a rule."""

    def make(self, random: Random) -> Files:
        """Return an engine with a changed sidecar."""
        values, network = random.choice(self._built)
        changed = mutated_values(values, random)
        kind = random.randrange(10)
        if kind == 0:
            return self.agreeing(values, network, said=changed)
        files = self.agreeing(changed, network)
        if kind == 1:
            name = sidecar_path(self._path).name
            files[name] = mutated(files[name], random)
        return files


class Networks(Engines):
    """Networks with other nodes, weights and types, beside a sidecar with their digest."""

    precisions = (*_PLAIN, "bf16", *_QUANTISED)

    def make(self, random: Random) -> Files:
        """Return an engine with a changed network."""
        values, network = random.choice(self._built)
        kind = random.randrange(12)
        if kind == 0:
            network = mutated(network, random)
        elif kind == 1:
            network = _with_operator(network, random)
        else:
            network = mutated_message(network, onnx.ModelProto.DESCRIPTOR, random)
        return self.agreeing(values, network)


class OpenVinoNetworks(Networks):
    """The same, run by OpenVINO, which is slower to load them."""

    device = "cpu:openvino"


def _with_operator(network: bytes, random: Random) -> bytes:
    """Give a node another operator of ONNX."""
    model = onnx.load_model_from_string(network)
    node = random.choice(model.graph.node)
    node.op_type = random.choice(_OPERATORS)
    if random.random() < 0.5:
        del node.attribute[:]
    content: bytes = model.SerializeToString()
    return content


_OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})


def _detector(width: int = 8) -> onnx.ModelProto:
    """Return a small network with the heads of mobilenet0.25, and each operator that builds write for it."""
    b = Builder(np.random.default_rng(0))

    def active(name: str, x: str, **options: int) -> str:
        return b.op("LeakyRelu", f"{name}_act", b.conv(name, x, width, **options), alpha=0.1)

    stem = active("stem", active("first", "images", stride=2), stride=2)
    fine = active("depthwise", stem, stride=2, groups=width)
    middle = active("down", b.op("Add", "sum", active("pointwise", fine, kernel=1), fine), stride=2)
    coarse = active("last", middle, stride=2)
    merged = active("merge", b.op("Add", "both", middle, b.double("doubled", coarse)))
    wide = b.op("Relu", "wide", b.op("Concat", "joined", merged, middle, axis=1))
    channels = {"logits": 4, "box_deltas": 8, "landmark_deltas": 20}
    features = {8: fine, 16: wide, 32: coarse}
    heads = [b.conv(f"{kind}_{s}", x, channels[kind], kernel=1) for s, x in features.items() for kind in channels]
    return b.model(*heads)


def _quantised(kinds: tuple[NumberFormat, ...]) -> onnx.ModelProto:
    """Return the network with convolutions in these formats in turn; the first ones and some others stay in float16."""
    graph = Graph(prepare(_detector(_FP8_CHANNELS)), SIZE)
    assignment: dict[str, NumberFormat] = {}
    for step, kind in enumerate(kinds, 1):
        assignment.update(dict.fromkeys(quantisable(graph, kind)[step::step], kind))
    return write_quantised(graph, quantised(graph, assignment, images(0)))


def _build(path: Path, precision: str) -> tuple[dict[str, Any], bytes]:
    """Build an engine without TensorRT; return the values of its sidecar, and its network without metadata."""
    size = InputSize.fixed(*SIZE)
    options = BuildOptions(precision, weights="random", size=size, max_batch=2, runtime="tensorrt-rtx", output=path)
    stages: dict[str, Any] = {
        "export_network": lambda model, size: _detector(),
        "load_backend": lambda runtime: Backend(runtime, None, "0"),
        "build_plan": lambda *_, **__: Plan(_PLAN, 0, ()),
    }
    if precision in _QUANTISED:
        # The options ask for photos to calibrate with.
        options = replace(options, precision="fp32")
        network = _quantised(_QUANTISED[precision])
        evidence: dict[str, Any] = {"kept_higher": []}
        stages["to_precision"] = lambda conversion: TypedNetwork(network, network, evidence)
    with ExitStack() as patched:
        for name, stage in stages.items():
            patched.enter_context(patch.object(pipeline, name, stage))
        build_engine(options)
    fields: list[Field] = [f for f in fields_of(network_path(path).read_bytes()) if f[0] != _METADATA]
    values: dict[str, Any] = json.loads(sidecar_path(path).read_text())
    values["precision"]["mode"] = precision
    return values, message_of(fields)
