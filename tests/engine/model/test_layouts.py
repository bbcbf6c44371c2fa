"""Checkpoints of other layouts: read, refused, explained."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import WeightsError
from engine.model.retinaface import RetinaFace
from engine.model.weights.layouts import WRAPPERS
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


MOBILENET = preset("mobilenet0.25")


@pytest.fixture(scope="module")
def ours() -> State:
    """A state_dict of mobilenet0.25 with this project's names."""
    torch.manual_seed(7)
    return RetinaFace(MOBILENET).state_dict()


def loaded(content: object, folder: Path, config: RetinaFaceConfig = MOBILENET) -> tuple[State, str]:
    """Save a checkpoint, load it, and return the model's state_dict and the note."""
    torch.save(content, folder / "own.pth")
    model, origin = load_model(config, str(folder / "own.pth"))
    return model.state_dict(), origin.note


def assert_equal(found: State, expected: State) -> None:
    """Compare all tensors but the counters, which start anew."""
    assert all(torch.equal(found[key], expected[key]) for key in expected if not key.endswith("num_batches_tracked"))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_opened(wrapper: str, ours: State, tmp_path: Path) -> None:
    found, note = loaded({"epoch": 3, wrapper: ours, "optimizer": {"state": {}, "param_groups": []}}, tmp_path)
    assert_equal(found, ours)
    assert "left out" not in note


def test_the_first_wrapper_of_the_list_counts(ours: State, tmp_path: Path) -> None:
    others = {key: torch.full_like(value, 5) for key, value in ours.items()}
    for first, second in pairwise(WRAPPERS):
        found, note = loaded({second: others, first: ours}, tmp_path)
        assert_equal(found, ours)
        assert note.endswith(f"left out: {second!r} beside {first!r}")
    assert_equal(loaded({"model": 3, "net": {"state_dict": ours}}, tmp_path)[0], ours)


PREFIXES = ["module.", "model.", "_orig_mod.", "module.module.", "model._orig_mod.module.", "net.", "network."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_left_out(prefix: str, ours: State, tmp_path: Path) -> None:
    assert_equal(loaded({prefix + key: value for key, value in ours.items()}, tmp_path)[0], ours)


def test_two_models_in_one_state_dict_are_refused(ours: State, tmp_path: Path) -> None:
    both = {f"{prefix}{key}": value for prefix in ("model.", "module.") for key, value in ours.items()}
    with pytest.raises(WeightsError, match=r"own.pth holds (\S+) twice, as model\.\1 and as module\.\1: two models"):
        loaded(both, tmp_path)


def test_what_no_detection_needs_is_left_out_and_said(ours: State, tmp_path: Path) -> None:
    classifier = {"body.fc.weight": torch.ones(1000, 256), "body.fc.bias": torch.ones(1000)}
    modules = {key.rsplit(".", 1)[0] for key in ours}
    counters = {
        f"{module}.{name}": torch.zeros(1).double() for module in modules for name in ("total_ops", "total_params")
    }
    state = {"total_ops": torch.zeros(1), **ours, **classifier, **counters, "_extra_state": {"version": 2}}
    found, note = loaded(state, tmp_path)
    assert_equal(found, ours)
    for said in (
        "left out: what is no tensor (_extra_state and 0 more)",
        f"left out: counters of thop (total_ops and {2 * len(modules)} more)",
        "left out: the backbone's classifier (body.fc.weight and 1 more)",
    ):
        assert said in note
    wide = {"body.classifier.1.weight": torch.ones(3)}
    assert_equal(loaded({**ours, **wide}, tmp_path)[0], ours)


def fx_name(key: str) -> str:
    """The name of one of our tensors in yakhyo/retinaface-pytorch, where a pair of convolutions is two modules."""
    parts = key.split(".")
    if parts[0] == "body":
        stage, block, index = parts[1], parts[2], int(parts[3])
        is_pair = (stage, block) != ("stage1", "0")
        place = f"{index // 3}.{index % 3}" if is_pair else f"{index}"
        return ".".join(["fx", stage, block, place, *parts[4:]])
    heads = {"ClassHead": "class_head", "BboxHead": "bbox_head", "LandmarkHead": "landmark_head"}
    if parts[0] in heads:
        assert parts[2] == "conv1x1"
        return ".".join([heads[parts[0]]] * 2 + [parts[1], parts[3]])
    return key


def test_the_fx_layout_is_read(ours: State, tmp_path: Path) -> None:
    theirs = {fx_name(key): value for key, value in ours.items()}
    assert len(theirs) == len(ours)
    assert {"fx.stage1.0.0.weight", "fx.stage1.1.1.0.weight", "class_head.class_head.2.bias"} <= theirs.keys()
    assert_equal(loaded(theirs, tmp_path)[0], ours)


@pytest.mark.parametrize("name", ["mobilenet0.5", "mobilenet1.0"])
def test_wider_mobilenets_in_the_fx_layout_are_read(name: str, tmp_path: Path) -> None:
    wide = RetinaFace(preset(name)).state_dict()
    assert_equal(loaded({fx_name(key): value for key, value in wide.items()}, tmp_path, preset(name))[0], wide)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "mobilenetv2"])
def test_torchvision_s_backbones_in_the_fx_layout_are_read(name: str, tmp_path: Path) -> None:
    config = preset(name)
    state = RetinaFace(config).state_dict()
    theirs = {
        fx_name(key) if "Head" in key else f"fx.{key.removeprefix('body.')}" if key.startswith("body.") else key: value
        for key, value in state.items()
    }
    assert_equal(loaded({**theirs, "fx.fc.weight": torch.ones(3)}, tmp_path, config)[0], state)


@pytest.mark.parametrize(
    ("head", "values", "expected"), [("ClassHead", 3, 2), ("LandmarkHead", 8, 10), ("LandmarkHead", 136, 10)]
)
def test_heads_with_other_numbers_of_values_are_named(
    head: str, values: int, expected: int, ours: State, tmp_path: Path
) -> None:
    """Three classes, 4 and 68 landmarks, of the two anchors of a place."""
    others = {
        key: torch.zeros(2 * values, *value.shape[1:]) if key.startswith(head) else value for key, value in ours.items()
    }
    setting = "classes and class_coding" if head == "ClassHead" else "mirrored_points"
    said = f"{head} has {values} numbers an anchor, expected {expected} as {setting} say"
    shape = rf"{head}\.0\.conv1x1\.\w+ has shape \({2 * values},.*expected \({2 * expected},"
    with pytest.raises(WeightsError, match=f"{said};.*{shape}"):
        loaded(others, tmp_path)


def test_names_that_nobody_knows_are_listed(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"none of the model's names, but encoder\.0, encoder\.1, .*\(9\)\. Rename them"
    ):
        loaded({f"encoder.{n}": torch.ones(1) for n in range(9)}, tmp_path)


@pytest.mark.parametrize("start", [b"HDF5-based Julia Data Format, version 0.1.1\x00", b"\x89HDF\r\n\x1a\n\x00"])
def test_julia_s_files_are_explained(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Cascaded_Lat5_Epoch13.jld2"
    path.write_bytes(start + bytes(600))
    with pytest.raises(WeightsError, match=r"probably JLD2.*which only Julia can read; .*Save its arrays as a PyTorch"):
        load_model(preset("full"), str(path))


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


def test_the_page_of_models_has_the_wrappers_in_their_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    (sentence,) = re.findall(r"first of these names that is there: (.*?)\.\n", text, re.DOTALL)
    assert tuple(re.findall(r"`([^`]+)`", sentence)) == WRAPPERS
