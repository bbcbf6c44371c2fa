"""The modules against the public checkpoints' layout, and the exported network against the modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from engine.config.detection import InputSize
from engine.config.presets import preset
from engine.errors import BuildError, InvalidArgumentError
from engine.export.network import export_network
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.precision.cast import to_fp16
from tests.support.data import upstream_checkpoint
from tests.support.shared import exported

SIZE = InputSize.fixed(64, 96)  # other tests export the same


def test_keys_and_shapes_equal_the_upstream_checkpoint() -> None:
    checkpoint = torch.load(upstream_checkpoint(), map_location="cpu", weights_only=True)
    published = {key.removeprefix("module."): tuple(value.shape) for key, value in checkpoint.items()}
    ours = {key: tuple(value.shape) for key, value in RetinaFace(preset("mobilenet0.25")).state_dict().items()}
    assert ours == published


def test_resnet50_has_torchvision_s_keys() -> None:
    shapes = {key: tuple(value.shape) for key, value in RetinaFace(preset("resnet50")).state_dict().items()}
    body = {key for key in shapes if key.startswith("body.")}
    # torchvision's resnet50 has 320 entries; without the fully connected layer's two, 318.
    assert len(body) == 318
    for key, shape in {
        "body.conv1.weight": (64, 3, 7, 7),
        "body.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "body.layer1.2.conv3.weight": (256, 64, 1, 1),
        "body.layer2.0.conv2.weight": (128, 128, 3, 3),
        "body.layer3.5.bn2.running_var": (256,),
        "body.layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fpn.output1.0.weight": (256, 512, 1, 1),
        "fpn.output3.0.weight": (256, 2048, 1, 1),
        "ssh1.conv7x7_3.0.weight": (64, 64, 3, 3),
        "LandmarkHead.2.conv1x1.weight": (20, 256, 1, 1),
    }.items():
        assert shapes[key] == shape
    # Published: 27.29 million parameters.
    assert sum(p.numel() for p in RetinaFace(preset("resnet50")).parameters()) == 27_293_600


@pytest.mark.parametrize("name", ["mobilenet0.25", "mobilenet0.25-relu", "resnet50"])
@pytest.mark.slow
def test_onnx_runtime_agrees_with_pytorch(name: str) -> None:
    config = preset(name)
    model, _ = load_model(config, "random" if name != "mobilenet0.25" else None)
    network = exported(model, SIZE)
    session = onnxruntime.InferenceSession(network.SerializeToString())
    generator = torch.Generator().manual_seed(2)
    for batch in (1, 3):
        images = torch.rand(batch, 3, *SIZE.optimum, generator=generator) * 255 - 110
        with torch.no_grad():
            expected = model(images)
        outputs = session.run(config.head_names(), {"images": images.numpy()})
        for level, (head, ours) in enumerate(zip(expected, outputs, strict=True)):
            assert head.shape == ours.shape
            assert np.abs(head.numpy() - ours).max() <= 1e-4 * max(1.0, float(head.abs().max())), level


@pytest.mark.slow
def test_a_range_of_sizes_is_exported_once() -> None:
    config = preset("mobilenet0.25")
    model, _ = load_model(config)
    network = export_network(model, InputSize((64, 64), (128, 160), (256, 320)))
    session = onnxruntime.InferenceSession(network.SerializeToString())
    for shape in ((1, 3, 64, 320), (2, 3, 256, 96)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(4)) * 255 - 110
        with torch.no_grad():
            expected = model(images)
        outputs = session.run(config.head_names(), {"images": images.numpy()})
        assert all(np.allclose(e.numpy(), o, atol=1e-4) for e, o in zip(expected, outputs, strict=True))


@pytest.mark.parametrize(
    "size",
    [
        InputSize((32, 32), (32, 32), (64, 96)),  # the optimum is a single cell
        InputSize((32, 32), (32, 64), (32, 96)),  # one side fixed
    ],
)
@pytest.mark.slow
def test_ranges_from_a_single_cell(size: InputSize) -> None:
    model, _ = load_model(preset("mobilenet0.25"), "random")
    session = onnxruntime.InferenceSession(export_network(model, size).SerializeToString())
    for height, width in (size.minimum, size.maximum):
        images = np.zeros((1, 3, height, width), np.float32)
        assert session.run(["logits_32"], {"images": images})[0].shape == (1, 4, height // 32, width // 32)


@pytest.mark.slow
def test_the_file_says_nothing_about_the_machine() -> None:
    model, _ = load_model(preset("mobilenet0.25"))
    content = exported(model, SIZE).SerializeToString()
    for trace in (b"site-packages", b".py", str(Path.cwd()).encode()):
        assert trace not in content


def test_decreasing_sizes_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must not decrease"):
        InputSize((64, 64), (32, 64), (128, 128)).check(preset("mobilenet0.25"))


@pytest.mark.slow
def test_fp16_is_typed_inside_and_float32_outside() -> None:
    config = preset("mobilenet0.25")
    model, _ = load_model(config)
    network = exported(model, SIZE)
    typed = to_fp16(network)
    initializers = {tensor.name: tensor.data_type for tensor in typed.graph.initializer}
    convolutions = [node for node in typed.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 56
    assert {initializers[name] for node in convolutions for name in node.input[1:]} == {10}  # FLOAT16
    assert {v.type.tensor_type.elem_type for v in (*typed.graph.input, *typed.graph.output)} == {1}  # FLOAT
    images = np.random.default_rng(5).uniform(-110, 140, (1, 3, *SIZE.optimum)).astype(np.float32)
    for full, half in zip(
        onnxruntime.InferenceSession(network.SerializeToString()).run(None, {"images": images}),
        onnxruntime.InferenceSession(typed.SerializeToString()).run(None, {"images": images}),
        strict=True,
    ):
        # A relative rounding of 2^-11 per layer, about 30 layers, errors of random sign: a few percent at most.
        assert np.abs(full - half).max() < 0.02 * np.abs(full).max() + 0.02


@pytest.mark.slow
def test_weights_beyond_fp16_are_refused() -> None:
    model, _ = load_model(preset("mobilenet0.25"))
    network = exported(model, SIZE)
    bias = next(t for t in network.graph.initializer if t.name == "ClassHead.0.conv1x1.bias")
    values = numpy_helper.to_array(bias).copy()
    values[0] = 1e6
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    with pytest.raises(BuildError, match=r"reaches 1e\+06, beyond float16"):
        to_fp16(network)
