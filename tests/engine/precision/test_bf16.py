"""Rounding of weights to bfloat16 with generated textures."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engine.config.presets import preset
from engine.errors import CalibrationError
from engine.pictures.backgrounds import crop, texture
from engine.precision import bf16
from engine.precision.bf16 import round_to_bf16
from engine.runtime.letterbox import Letterbox
from engine.types import FloatArray, Image
from tests.support import graphs
from tests.support.data import astronaut

CONFIG = preset("mobilenet0.25")
SIZE = (96, 96)


def _weights(model: onnx.ModelProto) -> dict[str, FloatArray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _nearest(model: onnx.ModelProto, convolutions: set[str]) -> onnx.ModelProto:
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for tensor in rounded.graph.initializer:
        if tensor.name in convolutions:
            values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return rounded


def test_the_heads_of_a_photo_differ_less_than_with_weights_rounded_to_the_nearest() -> None:
    """A photo has other statistics than the textures. Measured: half the squared error, 0.1 to 1 by seed."""
    squares = []
    for seed in range(4):
        model = graphs.tiny_detector(seed, stem_stride=8)
        convolutions = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        candidates = round_to_bf16(model, CONFIG, graphs.SIZE), _nearest(model, convolutions)
        rng = np.random.default_rng(seed)
        parts = [crop(astronaut(), graphs.SIZE, rng) for _ in range(3)]
        for batch in map(Letterbox(graphs.SIZE, CONFIG, enlarge=False).batch, ([part] for part in parts)):
            wanted = graphs.run(model, batch)
            given = [graphs.run(candidate, batch) for candidate in candidates]
            squares += [[graphs.relative_rms(heads[name], wanted[name]) ** 2 for heads in given] for name in wanted]
    rounded, nearest = np.mean(squares, axis=0)
    assert rounded < 0.7 * nearest


def test_nothing_but_the_weights_of_plain_convolutions_changes() -> None:
    b = graphs.Builder(np.random.default_rng(1))
    fine = b.op("Relu", "fine", b.deform_conv("context", b.conv("stem", "images", 16, stride=8), 16))
    middle, coarse = (b.conv(name, fine, 16, stride=stride) for name, stride in (("middle", 2), ("coarse", 4)))
    features = {8: fine, 16: middle, 32: coarse}
    channels = {"logits": 4, "box_deltas": 8, "landmark_deltas": 20}
    heads = [b.conv(f"{kind}_{s}", x, channels[kind], kernel=1) for s, x in features.items() for kind in channels]
    model = b.model(*heads)
    rounded = round_to_bf16(model, CONFIG, graphs.SIZE)
    assert [n.SerializeToString() for n in rounded.graph.node] == [n.SerializeToString() for n in model.graph.node]
    before, after = _weights(model), _weights(rounded)
    assert before.keys() == after.keys()
    plain = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for name, values in after.items():
        if name in plain:
            np.testing.assert_array_equal(values.astype(ml_dtypes.bfloat16).astype(np.float32), values, err_msg=name)
            assert not np.array_equal(values, before[name]), name
        else:
            np.testing.assert_array_equal(values, before[name], err_msg=name)


@pytest.mark.slow
def test_it_is_deterministic_and_reports_progress(mobilenet: onnx.ModelProto) -> None:
    stages: list[str] = []
    first, again = (round_to_bf16(mobilenet, CONFIG, SIZE, stages.append) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    name = "Rounding weights to bfloat16"
    shown = [*(f"{name}, picture {i}/16" for i in range(1, 17)), f"{name}, convolution by convolution"]
    assert stages == shown * 2


@pytest.mark.slow
def test_large_networks_use_fewer_and_smaller_textures(
    mobilenet: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16, "_LARGE_NETWORK", 1000)
    monkeypatch.setattr(bf16, "_LARGE_SIDE", 64)
    shapes: list[tuple[int, int]] = []

    def drawn(size: tuple[int, int], rng: np.random.Generator) -> Image:
        shapes.append(size)
        return texture(size, rng)

    monkeypatch.setattr(bf16, "texture", drawn)
    round_to_bf16(mobilenet, CONFIG, (32, 96))
    assert shapes == [(32, 64)] * 4
    monkeypatch.setattr(bf16, "_LARGE_NETWORK", 10**9)
    monkeypatch.setattr(bf16, "_SIDE", 32)
    round_to_bf16(mobilenet, CONFIG, (32, 96))
    assert shapes[4:] == [(32, 32)] * 16


@pytest.mark.parametrize("factor", [np.inf, 1e16])
def test_a_convolution_with_inputs_that_are_not_finite_is_named(factor: float) -> None:
    """With 1e16 the activations are finite, but their squares are not."""
    model = graphs.tiny_detector(stem_stride=8)
    tensor = next(t for t in model.graph.initializer if t.name == "stem_weight")
    tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * factor).astype(np.float32), tensor.name))
    with pytest.raises(CalibrationError, match=r"inputs of convolution \w+, or their squares, are not finite"):
        round_to_bf16(model, CONFIG, graphs.SIZE)
