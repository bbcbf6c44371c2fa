"""The plugins in TensorRT-RTX's builder, which builds engines without a GPU."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from engine.backend.plugin_library import PLUGIN_VERSIONS

from .cases import DECODE, DECODE_ATTRIBUTES, NMS, NMS_ATTRIBUTES, REFUSED, Heads, changed
from .conftest import BuilderFiles

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


class Log(trt.ILogger):  # type: ignore[misc, name-defined]
    """Collects the errors of TensorRT and the plugins."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        """Called by TensorRT."""
        if severity == trt.ILogger.Severity.ERROR:
            self.errors.append(message)


# TensorRT uses the first logger of a process until the end, so all tests share one.
LOG = Log()


@pytest.fixture
def builder(builder_files: BuilderFiles) -> Any:
    """A builder with the plugins registered."""
    ctypes.CDLL(str(builder_files.alias))
    builder = trt.Builder(LOG)
    assert builder.get_plugin_registry().load_library(str(builder_files.plugins)) is not None
    LOG.errors.clear()
    return builder


def detector(heads: Heads, decode: dict[str, Any], nms: dict[str, Any]) -> bytes:
    """Return an ONNX model from raw heads of any batch and size to detections."""
    names = [f"head_{i}" for i in range(len(heads.shapes()))]
    inputs = [
        helper.make_tensor_value_info(name, TYPES[heads.dtype], ["batch", channels, f"h_{name}", f"w_{name}"])
        for name, (_, channels, _, _) in zip(names, heads.shapes(), strict=True)
    ]
    candidates = ["candidate_boxes", "candidate_scores", "candidate_landmarks", "count"]
    results = ["num_detections", "boxes", "scores", "landmarks"]
    if not heads.landmarks:
        del candidates[2], results[3]
    nodes = [
        helper.make_node(DECODE, names, candidates, name=DECODE, domain="retinaface", **decode),
        helper.make_node(NMS, candidates, results, name=NMS, domain="retinaface", **nms),
    ]
    outputs = [
        helper.make_tensor_value_info(r, TensorProto.INT32 if r == "num_detections" else TensorProto.FLOAT, None)
        for r in results
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("retinaface", 1)]
    model = helper.make_model(helper.make_graph(nodes, "detector", inputs, outputs), opset_imports=opsets)
    model.ir_version = 10
    return bytes(model.SerializeToString())


def parse(builder: Any, model: bytes) -> Any:
    """Return the network, or None if the parser fails."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOG)
    return network if parser.parse(model) else None


def build(
    builder: Any, network: Any, shapes: list[list[tuple[int, ...]]], embedded: Path | None = None
) -> bytes | None:
    """Build the engine for the smallest, the usual and the largest shapes of the inputs; None if that fails."""
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for i, shape in enumerate(zip(*shapes, strict=True)):
        profile.set_shape(network.get_input(i).name, *shape)
    config.add_optimization_profile(profile)
    if embedded is not None:
        config.plugins_to_serialize = [str(embedded)]
    plan = builder.build_serialized_network(network, config)
    return None if plan is None else bytes(plan)


def profile_of(heads: Heads, *sizes: tuple[int, int, int]) -> list[list[tuple[int, ...]]]:
    """Return the shapes of the heads for each (batch, height, width)."""
    return [list(replace(heads, batch=b, height=h, width=w).shapes()) for b, h, w in sizes]


def test_engines_name_the_version_that_the_plugins_have(builder: Any) -> None:
    """A sidecar's plugin versions decide whether a library can run an engine."""
    creators = {(creator.name, creator.plugin_version) for creator in builder.get_plugin_registry().all_creators}
    assert {(name, version) for name, versions in PLUGIN_VERSIONS.items() for version in versions} <= creators


@pytest.mark.parametrize("landmarks", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_engines_build(builder: Any, builder_files: BuilderFiles, dtype: str, landmarks: bool) -> None:
    heads = Heads(1, 64, 64, dtype=dtype, landmarks=landmarks, top_k=1000)
    nms = {**NMS_ATTRIBUTES, "has_landmarks": int(landmarks)}
    network = parse(builder, detector(heads, heads.attributes, nms))
    assert network is not None, LOG.errors
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    assert [(layer.name, layer.type) for layer in layers] == [
        (DECODE, trt.LayerType.PLUGIN_V3),
        (NMS, trt.LayerType.PLUGIN_V3),
    ]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    expected = [("num_detections", (-1,)), ("boxes", (-1, 20, 4)), ("scores", (-1, 20)), ("landmarks", (-1, 20, 10))]
    assert [(o.name, tuple(o.shape)) for o in outputs] == expected[: 4 if landmarks else 3]
    assert [o.dtype for o in outputs] == [trt.int32] + [trt.float32] * (len(outputs) - 1)

    shapes = profile_of(heads, (1, 320, 320), (4, 640, 640), (16, 1280, 736))
    plan = build(builder, network, shapes)
    assert plan is not None, LOG.errors
    assert not LOG.errors
    with_plugins = build(builder, network, shapes, embedded=builder_files.plugins)
    assert with_plugins is not None, LOG.errors
    assert builder_files.plugins.read_bytes() in with_plugins
    assert builder_files.plugins.read_bytes() not in plan


# The parser passes only attributes that the plugin advertises, and drops empty arrays.
@pytest.mark.parametrize(("name", "attribute", "value", "message"), [r for r in REFUSED if r[2] != []])
def test_wrong_attributes_are_refused(builder: Any, name: str, attribute: str, value: Any, message: str) -> None:
    attributes = {DECODE: DECODE_ATTRIBUTES, NMS: NMS_ATTRIBUTES, name: changed(name, attribute, value)}
    assert parse(builder, detector(Heads(1, 64, 64), attributes[DECODE], attributes[NMS])) is None
    said = [line for line in LOG.errors if line.startswith(f"{name}: ")]
    assert any(message in line for line in said), LOG.errors


def test_a_cascade_with_any_anchors_builds(builder: Any) -> None:
    heads = Heads(1, 64, 64, (4, 8, 16, 32, 64), (3,) * 5, cascade=True, square=False)
    network = parse(builder, detector(heads, heads.attributes, NMS_ATTRIBUTES))
    assert network is not None, LOG.errors
    assert build(builder, network, profile_of(heads, (1, 64, 64), (2, 320, 320), (4, 640, 640))) is not None


def test_attributes_with_defaults_may_be_left_out(builder: Any) -> None:
    nms = {"iou_threshold": 0.4, "max_detections": 20}
    heads = Heads(1, 64, 64)
    network = parse(builder, detector(heads, changed(DECODE, "has_landmarks", None), nms))
    assert network is not None, LOG.errors
    assert build(builder, network, profile_of(heads, *[(1, 64, 64)] * 3)) is not None


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (Heads(1, 64, 64, landmarks=False), "expected 9 inputs"),
        (Heads(1, 64, 64, num_anchors=(2, 3, 2)), "logits of level 1: expected the shape [-1, 4, -1, -1], got [-1, 6,"),
    ],
)
def test_heads_that_do_not_fit_the_attributes_are_refused(builder: Any, heads: Heads, message: str) -> None:
    assert parse(builder, detector(heads, DECODE_ATTRIBUTES, NMS_ATTRIBUTES)) is None
    assert any(line.startswith(f"{DECODE}: ") and message in line for line in LOG.errors), LOG.errors


def test_too_many_anchors_are_refused(builder: Any) -> None:
    heads = Heads(1, 64, 64)
    network = parse(builder, detector(heads, DECODE_ATTRIBUTES, NMS_ATTRIBUTES))
    assert network is not None, LOG.errors
    shapes = profile_of(heads, (1, 320, 320), (1, 640, 640), (1, 10240, 10240))
    assert build(builder, network, shapes) is None
    assert any("number of anchors per image is 4300800, expected 1 to 4194304" in line for line in LOG.errors)
