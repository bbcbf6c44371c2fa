"""Checkpoints of other layouts: read, refused, explained."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.config.presets import preset
from engine.errors import WeightsError
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from tests.support.family import settled_model

State = dict[str, torch.Tensor]
FACE_DETECTOR_SSH = {
    "conv3X3": "conv128",
    "conv5X5_1": "conv64_1_1",
    "conv5X5_2": "conv64_1_2",
    "conv7X7_2": "conv64_2_1",
    "conv7x7_3": "conv64_2_2",
}


FACE_DETECTOR_BODY = {
    "body.conv1.": "backbone.init_layer.0.",
    "body.bn1.": "backbone.init_layer.1.",
    "body.": "backbone.",
}


def save(state: State, path: Path) -> str:
    """Write a checkpoint."""
    torch.save(state, path)
    return str(path)


def face_detector_checkpoint() -> State:
    """A state_dict with the modules and the order of levels of FaceDetector's model (BBTNet/model/retinaface.py)."""
    ours = settled_model("facedetector-resnet50").state_dict()
    state: State = {}

    def unit(theirs: str, module: str) -> None:
        state[f"{theirs}.conv.weight"] = ours[f"{module}.0.weight"]
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            state[f"{theirs}.bn.{part}"] = ours[f"{module}.1.{part}"]

    for key, value in ours.items():
        prefix = next((prefix for prefix in FACE_DETECTOR_BODY if key.startswith(prefix)), None)
        if prefix is not None:
            state[FACE_DETECTOR_BODY[prefix] + key.removeprefix(prefix)] = value
    for i in range(5):
        unit(f"fpn.lateral_ins.{i}", f"fpn.output{i + 1}")
        for name, theirs in FACE_DETECTOR_SSH.items():
            unit(f"context_module.ssh_list.{i}.{theirs}", f"ssh{i + 1}.{name}")
        for head, name in enumerate(("ClassHead", "BboxHead")):
            for part in ("weight", "bias"):
                state[f"heads2.{head}.layers.{i}.{part}"] = ours[f"{name}.{i}.conv1x1.{part}"]
    for i in range(4):  # the last one is never used
        unit(f"fpn.lateral_outs.{i}", f"fpn.merge{min(i, 2) + 1}")
    return state


def test_face_detector_s_checkpoints_give_its_model_s_features(tmp_path: Path) -> None:
    state = face_detector_checkpoint()
    model, origin = load_model(preset("facedetector-resnet50"), save(state, tmp_path / "bbt.pth"))
    assert origin.known_as is None
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 70
    with torch.no_grad():
        features = model.body(images)
        levels = face_detector_pyramid(state, features)
        for level, ours in zip(levels, model.fpn(features), strict=True):
            torch.testing.assert_close(ours, level)


def face_detector_pyramid(state: State, features: list[torch.Tensor]) -> list[torch.Tensor]:
    """FaceDetector's FeaturePyramid: a level adds the next level's own features, and P6 has an activation."""

    def unit(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.conv.weight"]
        y = functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        mean, variance, scale, shift = (
            state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.relu(functional.batch_norm(y, mean, variance, scale, shift))

    own = [unit(f"fpn.lateral_ins.{i}", x) for i, x in enumerate(features)]
    merged = []
    for i in range(3):
        doubled = functional.interpolate(own[i + 1], size=list(own[i].shape[2:]), mode="nearest")
        merged.append(unit(f"fpn.lateral_outs.{i}", doubled + own[i]))
    return [*merged, own[3], unit("fpn.lateral_ins.4", features[3], stride=2)]


def test_heads_called_conv_are_read(tmp_path: Path) -> None:
    ours = RetinaFace(preset("resnet18-lite")).state_dict()
    theirs = {key.replace(".conv1x1.", ".conv."): value for key, value in ours.items()}
    assert theirs.keys() != ours.keys()
    model, _ = load_model(preset("resnet18-lite"), save(theirs, tmp_path / "lite.pth"))
    assert all(torch.equal(value, ours[key]) for key, value in model.state_dict().items())


def test_a_plain_checkpoint_becomes_deformable(tmp_path: Path) -> None:
    plain = settled_model("retinaface-resnet50", context="plain")
    config = preset("retinaface-resnet50")
    model, _ = load_model(config, save(plain.state_dict(), tmp_path / "plain.pth"))
    offsets = {key: value for key, value in model.state_dict().items() if ".offset." in key}
    assert len(offsets) == 2 * 25
    assert not any(value.any() for value in offsets.values())
    partly = dict(list(offsets.items())[:2])
    with pytest.raises(WeightsError, match=r"missing under ssh1: 8 \(first ssh1.conv5X5_1.0.offset.bias\)"):
        load_model(config, save({**plain.state_dict(), **partly}, tmp_path / "partly.pth"))


def test_a_wrong_checkpoint_is_refused_in_a_few_lines(tmp_path: Path) -> None:
    cascade = save(RetinaFace(preset("full")).state_dict(), tmp_path / "full.pth")
    with pytest.raises(WeightsError, match=r"unexpected: all of AnchorHead, LandmarkHead\. Use the config") as refusal:
        load_model(preset("context"), cascade)
    with pytest.raises(WeightsError, match=r"all of ssh;.*unexpected: all of AnchorHead, ssh1, ssh2") as light:
        load_model(preset("resnet18-lite"), cascade)
    assert str(light.value).count(" has shape ") == 4
    assert "and 89 more of other shapes" in str(light.value)
    for message in (refusal, light):
        assert len(str(message.value)) < 1200
    with pytest.raises(WeightsError, match=r"missing: all of AnchorHead, ssh1, ssh2, ssh3, ssh4, ssh5"):
        load_model(preset("full"), save(RetinaFace(preset("baseline")).state_dict(), tmp_path / "baseline.pth"))


@pytest.mark.parametrize("start", [b"HDF5-based Julia Data Format, version 0.1.1\x00", b"\x89HDF\r\n\x1a\n\x00"])
def test_julia_s_files_are_explained(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Cascaded_Lat5_Epoch13.jld2"
    path.write_bytes(start + bytes(600))
    with pytest.raises(WeightsError, match=r"probably JLD2.*which only Julia can read; .*Save its arrays as a PyTorch"):
        load_model(preset("full"), str(path))


def test_mxnet_s_files_are_explained(tmp_path: Path) -> None:
    """The header of mxnet.nd.save: the list's magic number, a reserved word, the number of arrays."""
    path = tmp_path / "R50-0000.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 300) + bytes(600))
    with pytest.raises(
        WeightsError, match=r"MXNet parameter file \(\.params\).*Give a checkpoint of a PyTorch port, or save"
    ):
        load_model(preset("retinaface-resnet50"), str(path))


def test_heads_that_only_training_needs_are_left_out(tmp_path: Path) -> None:
    """A cascade's first stage may have class and landmark heads, which the second stage does not use."""
    ours = RetinaFace(preset("full")).state_dict()
    first = {f"Anchor{key}": value for key, value in ours.items() if key.startswith(("ClassHead", "LandmarkHead"))}
    assert len(first) == 2 * 2 * 5
    path = save({**ours, **first}, tmp_path / "full.pth")
    model, _ = load_model(preset("full"), path)
    assert all(torch.equal(value, ours[key]) for key, value in model.state_dict().items())
    with pytest.raises(WeightsError, match="unexpected: all of AnchorClassHead, AnchorHead, AnchorLandmarkHead"):
        load_model(preset("context-landmark"), path)
