"""Deformable convolution in PyTorch and in the exported network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engine.config.detection import InputSize, Thresholds
from engine.config.presets import preset
from engine.export.attach import attach_detection
from engine.model.deform_conv import DeformableConv, deform_conv
from engine.model.retinaface import RetinaFace
from engine.precision.cast import to_fp16
from tests.support.family import random_images, settled_model
from tests.support.oracles.deform_conv import Geometry
from tests.support.oracles.deform_conv import deform_conv as oracle
from tests.support.shared import exported
from tests.support.tolerances import DEFORM_CONV_ABSOLUTE


def test_the_operator_equals_the_oracle() -> None:
    """Offsets far outside the map, onto its border and between pixels."""
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(2, 6, 7, 9)), rng.normal(size=(4, 6, 3, 3)) / 7
    offset = rng.normal(size=(2, 18, 7, 9)) * rng.choice([0.5, 3, 30], size=(2, 18, 7, 9))
    offset[:, :, 2] = np.round(offset[:, :, 2])
    placed = [torch.from_numpy(array.astype(np.float32)) for array in (x, weight, offset)]
    result = torch.ops.retinaface.deform_conv(*placed).numpy()
    x, weight, offset = (array.numpy().astype(np.float64) for array in placed)
    expected = oracle(x, weight, offset, None, None, Geometry(padding=(1, 1, 1, 1)))
    np.testing.assert_allclose(result, expected, atol=DEFORM_CONV_ABSOLUTE)


def test_offsets_begin_at_zero_and_then_change_nothing() -> None:
    torch.manual_seed(1)
    deformable, x = DeformableConv(5, 3), torch.randn(1, 5, 6, 8)
    plain = torch.nn.functional.conv2d(x, deformable.weight, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(deformable(x), plain)


def test_a_plain_network_s_weights_give_its_output() -> None:
    """The paper's model with a plain model's weights and initial offsets."""
    plain = settled_model("retinaface-resnet50", context="plain")
    deformable = RetinaFace(preset("retinaface-resnet50")).eval()
    missing, unexpected = deformable.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".offset." in key for key in missing)
    images = torch.from_numpy(random_images(preset("retinaface-resnet50"), 1, 3, 64, 96))
    with torch.no_grad():
        for ours, theirs in zip(deformable(images), plain(images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_file_holds_the_standard_s_operator() -> None:
    """25 DeformConv nodes in five context modules, with folded normalisations, each with a convolution of offsets."""
    config = preset("retinaface-resnet50")
    network = exported(settled_model(config.name), InputSize.fixed(64, 96))
    nodes = [node for node in network.graph.node if node.op_type == "DeformConv"]
    assert len(nodes) == 25
    assert {node.domain for node in nodes} == {""}
    assert [opset.version for opset in network.opset_import] == [19]
    assert not any(node.op_type == "BatchNormalization" for node in network.graph.node)
    makers = {node.output[0]: node.op_type for node in network.graph.node}
    assert {makers[node.input[2]] for node in nodes} == {"Conv"}
    assert all(len(node.input) == 4 for node in nodes)
    used = {name for node in network.graph.node for name in node.input}
    assert {tensor.name for tensor in network.graph.initializer} <= used

    typed = to_fp16(network)
    types = {tensor.name: tensor.data_type for tensor in typed.graph.initializer}
    deformed = [node for node in typed.graph.node if node.op_type == "DeformConv"]
    assert {types[node.input[i]] for node in deformed for i in (1, 3)} == {onnx.TensorProto.FLOAT16}
    decode = attach_detection(typed, config, Thresholds()).graph.node[-2]
    assert (decode.op_type, len(decode.input)) == ("RetinaFaceDecode", 4 * 5)


@pytest.mark.slow
def test_fp16_runs_on_the_cpu_too() -> None:
    network = exported(settled_model("retinaface-resnet50"), InputSize.fixed(64, 96))
    images = {"images": random_images(preset("retinaface-resnet50"), 1, 3, 64, 96)}
    full, half = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, images)
        for model in (network, to_fp16(network))
    )
    for wide, narrow in zip(full, half, strict=True):
        # About 70 layers; each rounds by up to 2^-11 of its values and passes earlier errors on.
        assert np.square(wide - narrow).mean() < 0.05**2 * np.square(wide).mean()


def test_gradients_are_those_of_finite_differences() -> None:
    """Of all inputs, and of the weight alone. Positions avoid the grid, where bilinear sampling has kinks."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    x, weight, offset = random(1, 2, 3, 4), random(2, 2, 3, 3), random(1, 18, 3, 4) * 0.8 + 0.1
    offset += torch.randint(-2, 3, offset.shape, generator=generator)
    every = [tensor.requires_grad_() for tensor in (x, weight, offset)]
    assert torch.autograd.gradcheck(torch.ops.retinaface.deform_conv, every)
    frozen = [x.detach(), weight, offset.detach()]
    assert torch.autograd.gradcheck(torch.ops.retinaface.deform_conv, frozen)


def test_a_deformable_network_learns() -> None:
    """A step against the gradient of each parameter, offsets included, reduces the loss."""
    torch.manual_seed(3)
    module, x = DeformableConv(4, 3), torch.randn(2, 4, 6, 7)
    torch.nn.init.normal_(module.offset.weight, std=0.1)
    target = torch.randn(2, 3, 6, 7)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())
    assert losses == sorted(losses, reverse=True)


def test_nothing_is_made_on_another_device() -> None:
    """The "meta" device stands in for a GPU: it does not mix with the CPU either."""
    tensors = [torch.empty(shape, device="meta") for shape in ((1, 3, 4, 5), (2, 3, 3, 3), (1, 18, 4, 5))]
    assert deform_conv(*tensors).shape == (1, 2, 4, 5)
