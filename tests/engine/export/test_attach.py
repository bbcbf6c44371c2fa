"""The input of a detector, behind which TensorRT's copy of the network begins."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from engine.config.detection import InputSize, Thresholds
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
