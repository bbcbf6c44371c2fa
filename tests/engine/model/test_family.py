"""The presets against the publications."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from engine.config.backbones import BACKBONES, Backbone
from engine.config.detection import InputSize
from engine.config.model import PyramidLevel
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError
from engine.export.network import export_network
from engine.model.retinaface import RetinaFace
from tests.support.family import random_images, settled_model

PAPER = {
    4: (16, 20.16, 25.40),
    8: (32, 40.32, 50.80),
    16: (64, 80.63, 101.59),
    32: (128, 161.26, 203.19),
    64: (256, 322.54, 406.37),
}
FIVE_LEVELS = ["retinaface-resnet50", "retinaface-resnet152", "baseline", "context", "context-landmark", "full"]


@pytest.mark.parametrize("name", FIVE_LEVELS)
def test_anchors_of_the_paper(name: str) -> None:
    config = preset(name)
    assert {level.stride: level.anchor_sizes for level in config.levels} == PAPER
    assert all(level.anchors == tuple((s, s) for s in level.anchor_sizes) for level in config.levels)
    maps = [config.map_size(level, 640, 640) for level in config.levels]
    assert [rows * columns for rows, columns in maps] == [25600, 6400, 1600, 400, 100]
    assert config.num_anchors(640, 640) == 102_300
    # Published as 16 * 2^(n / 3) to two decimals; one is off by a hundredth.
    exact = [16 * 2 ** (n / 3) for n in range(15)]
    assert [s for level in config.levels for s in level.anchor_sizes] == pytest.approx(exact, abs=0.01)


def test_anchors_of_the_light_model() -> None:
    """Six per cell: three areas, each wide (1 : 2) and square. The 7.5 cells of the last map become 8."""
    config = preset("resnet18-lite")
    assert [level.anchor_sizes for level in config.levels] == [
        (8, 10.08, 12.67),
        (16, 20.16, 25.40),
        (32, 40.32, 50.80),
        (64, 80.63, 101.59),
        (128, 161.26, 203.19),
    ]
    assert config.input_size == (480, 480)
    counts = [math.prod(config.map_size(level, 480, 480)) * len(level.anchors) for level in config.levels]
    assert counts == [86_400, 21_600, 5_400, 1_350, 384]
    assert config.num_anchors(480, 480) == 115_134
    for level in config.levels:
        wide, square = level.anchors[:3], level.anchors[3:]
        assert square == tuple((s, s) for s in level.anchor_sizes)
        for (width, height), size in zip(wide, level.anchor_sizes, strict=True):
            assert width == pytest.approx(2 * height)
            assert width * height == pytest.approx(size**2)


def test_480_is_a_size_although_64_does_not_divide_it() -> None:
    preset("resnet18-lite").check_input_size(480, 480)
    with pytest.raises(InvalidArgumentError, match="multiple of 32, the stride of the deepest features"):
        preset("resnet18-lite").check_input_size(496, 480)


@pytest.mark.parametrize(
    ("name", "side", "anchors"),
    [  # the largest square inputs
        ("mobilenet0.25", 10112, 4_193_952),
        ("retinaface-resnet50", 4096, 4_190_208),
        ("resnet18-lite", 2880, 4_143_150),
    ],
)
def test_as_many_anchors_as_the_decoder_takes(name: str, side: int, anchors: int) -> None:
    config = preset(name)
    config.check_input_size(side, side)
    assert config.num_anchors(side, side) == anchors
    with pytest.raises(InvalidArgumentError, match=r"has \d+ anchors, expected at most 4194304: choose a smaller size"):
        config.check_input_size(side + 32, side + 32)


def test_the_ablations_leave_out_their_parts() -> None:
    shown = {name: (c.context, "landmark" in c.heads, c.cascade) for name, c in PRESETS.items() if name in FIVE_LEVELS}
    assert shown == {
        "retinaface-resnet50": ("deformable", True, True),
        "retinaface-resnet152": ("deformable", True, True),
        "baseline": ("none", True, False),
        "context": ("plain", False, False),
        "context-landmark": ("plain", True, False),
        "full": ("plain", True, True),
    }


def test_heads_of_a_cascade() -> None:
    config = preset("full")
    names = config.head_names()
    assert names[:5] == ["logits_4", "box_deltas_4", "landmark_deltas_4", "anchor_deltas_4", "logits_8"]
    assert config.decoder_heads(names)[1] == ("logits_8", "box_deltas_8", "landmark_deltas_8", "anchor_deltas_8")
    assert preset("context").decoder_heads(preset("context").head_names())[0] == ("logits_4", "box_deltas_4", None)


@pytest.mark.parametrize(
    ("name", "entries", "parameters"),
    [  # torchvision's numbers, without the two entries of the fully connected layer
        ("resnet18", 122 - 2, 11_689_512 - 513_000),
        ("resnet34", 218 - 2, 21_797_672 - 513_000),
        ("resnet50", 320 - 2, 25_557_032 - 2_049_000),
        ("resnet101", 626 - 2, 44_549_160 - 2_049_000),
        ("resnet152", 932 - 2, 60_192_808 - 2_049_000),
    ],
)
def test_backbones_are_torchvision_s(name: str, entries: int, parameters: int) -> None:
    body = RetinaFace(replace(preset("full"), backbone=name)).body
    assert len(body.state_dict()) == entries
    assert sum(p.numel() for p in body.parameters()) == parameters


def test_mobilenet_v2_is_torchvision_s() -> None:
    """Its number of parameters, 3,504,872, without the classifier's, and the names of its tensors."""
    body = RetinaFace(preset("mobilenetv2")).body
    assert sum(p.numel() for p in body.parameters()) == 3_504_872 - 1_281_000
    shapes = {key: tuple(value.shape) for key, value in body.state_dict().items()}
    assert shapes["features.0.0.weight"] == (32, 3, 3, 3)
    assert shapes["features.1.conv.1.weight"] == (16, 32, 1, 1)  # the first block has no expansion
    assert shapes["features.17.conv.2.weight"] == (320, 960, 1, 1)
    assert shapes["features.18.1.running_var"] == (1280,)


@pytest.mark.parametrize(
    ("name", "parameters"), [("mobilenet0.5", 1_331_592 - 513_000), ("mobilenet1.0", 4_231_976 - 1_025_000)]
)
def test_mobilenet_v1_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    """Those of the published models (0.5: 1.3, 1.0: 4.2 million), without their classifiers of 1000 classes."""
    body = RetinaFace(preset(name)).body
    assert sum(p.numel() for p in body.parameters()) == parameters


def test_the_body_s_slope_is_its_own() -> None:
    modules = dict(RetinaFace(preset("mobilenet1.0")).named_modules())
    slopes: dict[str, set[float]] = {}
    for name, module in modules.items():
        if isinstance(module, torch.nn.LeakyReLU):
            slopes.setdefault(name.split(".")[0], set()).add(module.negative_slope)
    assert slopes == {"body": {0.1}, "fpn": {0.0}, "ssh1": {0.0}, "ssh2": {0.0}, "ssh3": {0.0}}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_the_strides_of_its_registry_entry(name: str) -> None:
    strides = BACKBONES[name].strides
    levels = tuple(PyramidLevel(stride, (16.0,)) for stride in strides)
    config = replace(preset("mobilenet0.25"), backbone=name, levels=levels)
    body = RetinaFace(config).body.eval()
    with torch.no_grad():
        features = body(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape) for x in features] == [
        (1, channels, 64 // stride, 96 // stride) for channels, stride in zip(body.out_channels, strides, strict=True)
    ]


@pytest.mark.parametrize(
    ("strides", "possible"),
    [
        ((8, 16, 32), [(8, 16, 32), (8, 16, 32, 64)]),
        ((4, 8, 16, 32), [(8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (4, 8, 16, 32, 64)]),
    ],
)
def test_a_pyramid_begins_at_stride_8_or_finer(strides: tuple[int, ...], possible: list[tuple[int, ...]]) -> None:
    assert Backbone("", strides).level_strides() == possible


def test_a_shared_context_module_is_one() -> None:
    keys = RetinaFace(preset("resnet18-lite")).state_dict().keys()
    assert sum(key.startswith("ssh") for key in keys) == 5 * 6
    assert not any(key.startswith("ssh1.") for key in keys)
    assert not any(key.startswith("ssh") for key in RetinaFace(preset("baseline")).state_dict())


@pytest.mark.slow
def test_a_range_of_sizes_with_a_last_map_that_is_rounded_up() -> None:
    """One export for 64 to 160 pixels; the map at stride 64 has 1, 2 and 3 rows."""
    model = settled_model("resnet18-lite")
    network = export_network(model, InputSize((64, 64), (96, 128), (160, 160)))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 160), (2, 3, 160, 96)):
        images = random_images(model.config, *shape)
        with torch.no_grad():
            expected = model(torch.from_numpy(images))
        outputs = session.run(model.config.head_names(), {"images": images})
        assert outputs[-1].shape[2:] == model.config.map_size(model.config.levels[-1], *shape[2:])
        for ours, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
