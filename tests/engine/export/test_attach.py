"""The input of a detector, behind which TensorRT's copy of the network begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from engine.config.detection import InputSize, Thresholds
from engine.config.heads import ValueHead
from engine.config.presets import preset
from engine.export.attach import attach_detection, input_dtype
from engine.precision.cast import to_bf16
from tests.support.engines import network

CONFIG, SIZE = preset("mobilenet0.25"), InputSize.fixed(64, 96)


def attached(model: onnx.ModelProto) -> onnx.ModelProto:
    return attach_detection(model, CONFIG, Thresholds())


def heads(model: onnx.ModelProto, batch: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(head) for head in session.run(None, {"images": batch})]


def test_behind_a_float16_input_the_network_is_the_same(rng: np.random.Generator) -> None:
    """The values are on float16's grid: ONNX Runtime may leave out casts to float16 and back."""
    model = network("fp16", size=SIZE)
    detector = attached(model)
    assert input_dtype(detector) == "float16"
    names = detector.graph.node[-2].input  # of RetinaFaceDecode
    del detector.graph.node[-2:], detector.graph.output[:]
    detector.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT16, None) for name in names)
    batch = rng.uniform(-123, 151, (2, 3, *SIZE.optimum)).astype(np.float16)
    for ours, theirs in zip(heads(detector, batch), heads(model, batch.astype(np.float32)), strict=True):
        assert ours.dtype == np.float16
        assert np.array_equal(ours, theirs.astype(np.float16))


def test_the_network_for_the_cpu_keeps_its_input() -> None:
    model = network("fp16", size=SIZE)
    before = model.SerializeToString()
    attached(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_inputs_stay_float32(precision: str) -> None:
    full = network("fp32", size=SIZE)
    detector = attached(full if precision == "fp32" else to_bf16(full))
    assert input_dtype(detector) == "float32"
    assert any("images" in node.input for node in detector.graph.node)


def test_an_input_that_is_also_read_in_float32_stays_float32() -> None:
    model = network("fp16", size=SIZE)
    model.graph.node.append(helper.make_node("Identity", ["images"], ["copy"], name="copy"))
    assert input_dtype(attached(model)) == "float32"


POINTS = ValueHead("chin", 4, "points")
AGE = ValueHead("age", 1)


@pytest.mark.parametrize(
    ("settings", "decoding", "suppression"),
    [
        ({}, {"has_landmarks": 1}, {"has_landmarks": 1}),
        ({"heads": ("class", "box")}, {"has_landmarks": 0}, {"has_landmarks": 0}),
        (
            {"classes": ("a", "b"), "class_agnostic": True, "heads": ("class", "box")},
            {"num_classes": 3, "sigmoid": 0, "num_points": 0},
            {"payload_size": 0, "has_classes": 1, "class_agnostic": 1},
        ),
        (
            {"class_coding": "sigmoid", "mirrored_points": (1, 0), "values": (AGE,)},
            {"num_classes": 2, "sigmoid": 1, "num_points": 2, "value_sizes": [1]},
            {"payload_size": 5, "has_classes": 0, "class_agnostic": 0},
        ),
        (
            {"values": (AGE, POINTS)},
            {"num_classes": 2, "sigmoid": 0, "num_points": 5, "value_sizes": [1, 4], "value_points": [0, 1]},
            {"payload_size": 15, "has_classes": 0, "class_agnostic": 0},
        ),
    ],
)
def test_the_plugins_are_told_which_heads_there_are(
    settings: dict[str, Any], decoding: dict[str, Any], suppression: dict[str, Any]
) -> None:
    """What plans do on a GPU follows from these attributes alone; on the CPU nothing reads them."""
    config = replace(CONFIG, name="own", **settings)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 64, 96])
    heads = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in config.head_names()]
    nodes = [helper.make_node("Identity", ["images"], [head.name], name=head.name) for head in heads]
    model = helper.make_model(helper.make_graph(nodes, "network", [images], heads))
    plugins = {node.op_type: node for node in attach_detection(model, config, Thresholds()).graph.node}
    about = {"num_classes", "sigmoid", "num_points", "value_sizes", "value_points", "has_landmarks"}
    about |= {"payload_size", "has_classes", "class_agnostic"}
    for operator, expected in (("RetinaFaceDecode", decoding), ("RetinaFaceNMS", suppression)):
        given = {entry.name: helper.get_attribute_value(entry) for entry in plugins[operator].attribute}
        version = "1" if "has_landmarks" in expected else "2"
        assert given["plugin_version"] == version.encode()
        assert {name: value for name, value in given.items() if name in about} == expected
