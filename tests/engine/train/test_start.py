"""Weights to start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.heads import ValueHead
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError, WeightsError
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.train.start import INT8_PRECISION, KEEP_LANDMARKS, starting_network
from tests.support.training.runs import TINY, tiny_network


@pytest.mark.parametrize("prefix", ["", "module.", "body.", "module.body."])
def test_a_backbone_s_checkpoint_gives_the_body_alone(prefix: str, tmp_path: Path) -> None:
    body = tiny_network().body.state_dict()
    path = tmp_path / "body.pth"
    classifier = {f"{prefix}fc.weight": torch.zeros(9, 4)}
    torch.save({f"{prefix}{name}": value for name, value in body.items()} | classifier, path)
    network, origin = starting_network(TINY, None, str(path), seed=7)
    assert all(torch.equal(value, body[name]) for name, value in network.body.state_dict().items())
    assert origin.note.endswith("; left out: the backbone's classifier (body.fc.weight and 0 more)")
    again, _ = starting_network(TINY, None, str(path), seed=7)
    other, _ = starting_network(TINY, None, str(path), seed=8)
    name = "BboxHead.0.conv1x1.weight"
    assert torch.equal(again.get_parameter(name), network.get_parameter(name))
    assert not torch.equal(other.get_parameter(name), network.get_parameter(name))


def test_a_backbone_of_another_width_is_refused(tmp_path: Path) -> None:
    body = tiny_network().body.state_dict()
    torch.save(body, tmp_path / "body.pth")
    wider = replace(TINY, backbone="mobilenet0.5")
    with pytest.raises(
        WeightsError, match=r"body\.pth does not fit config 'tiny': .*body\.stage1\.0\.0\.weight has shape"
    ):
        starting_network(wider, None, str(tmp_path / "body.pth"), seed=0)


def test_published_weights_may_get_other_anchors() -> None:
    """To build an engine of them is refused: only training makes them fit."""
    config = PRESETS["mobilenet0.25"]
    levels = tuple(replace(level, anchor_sizes=tuple(s * 1.1 for s in level.anchor_sizes)) for level in config.levels)
    network, _ = starting_network(replace(config, name="other", levels=levels), "mobilenet0.25", None, seed=0)
    assert network.config.name == "other"


@pytest.mark.parametrize("coding", ["softmax", "sigmoid"])
def test_each_class_begins_as_the_face_of_weights_with_one(coding: str, tmp_path: Path) -> None:
    path = tmp_path / "face.pth"
    faces = tiny_network().eval()
    torch.save(faces.state_dict(), path)
    config = replace(TINY, classes=("a", "b", "c"), class_coding=coding)
    network, origin = starting_network(config, str(path), None, seed=0)
    assert origin.note.endswith("; its face is the beginning of each class")
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 50
    with torch.no_grad():
        before, after = faces(images), network(images)
    for level in range(3):
        face = before[3 * level].unflatten(1, (2, 2)).softmax(2)[:, :, 1:]
        logits = after[3 * level].unflatten(1, (2, -1))
        # Softmax shares the probability of a face among the classes, sigmoid gives it to each.
        found = logits.sigmoid() if coding == "sigmoid" else logits.softmax(2)[:, :, 1:] * 3
        torch.testing.assert_close(found, face.expand_as(found))
        assert torch.equal(before[3 * level + 1], after[3 * level + 1])
    torch.save(network.state_dict(), path)
    again, origin = starting_network(config, str(path), None, seed=0)
    assert "beginning" not in origin.note
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_weights_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.pth"
    torch.save(RetinaFace(replace(TINY, classes=("a", "b"))).state_dict(), path)
    for names in ("c", "abc"):
        with pytest.raises(WeightsError, match=r"two\.pth does not fit config 'tiny': .*ClassHead"):
            starting_network(replace(TINY, classes=tuple(names)), str(path), None, seed=0)


@pytest.mark.parametrize("classes", [("face",), ("a", "b")])
def test_weights_of_five_points_begin_a_network_of_others(classes: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "five.pth"
    faces = tiny_network().eval()
    torch.save(faces.state_dict(), path)
    config = replace(TINY, classes=classes, mirrored_points=(0, 2, 1))
    network, origin = starting_network(config, str(path), None, seed=3)
    assert origin.note.endswith("; the heads of 3 points are random, as it has 5")
    assert ("the beginning of each class" in origin.note) == (len(classes) > 1)
    again, _ = starting_network(config, str(path), None, seed=3)
    other, _ = starting_network(config, str(path), None, seed=4)
    assert torch.equal(
        network.head("landmark_deltas", 0).conv1x1.weight, again.head("landmark_deltas", 0).conv1x1.weight
    )
    assert not torch.equal(
        network.head("landmark_deltas", 0).conv1x1.weight, other.head("landmark_deltas", 0).conv1x1.weight
    )
    assert network.head("landmark_deltas", 0).conv1x1.out_channels == 12
    known = faces.state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith(("LandmarkHead.", "ClassHead.")) or torch.equal(value, known[name])
    with pytest.raises(WeightsError, match=r"five\.pth does not fit .*Without --keep-landmarks the other layers of"):
        starting_network(config, str(path), None, seed=3, only=KEEP_LANDMARKS)


def test_int8_and_kept_landmarks_take_no_new_heads(tmp_path: Path) -> None:
    path = tmp_path / "five.pth"
    torch.save(tiny_network().state_dict(), path)
    several, values = replace(TINY, classes=("a", "b")), replace(TINY, values=(ValueHead("age", 1),))
    for config, only in ((several, INT8_PRECISION), (values, INT8_PRECISION)):
        with pytest.raises(WeightsError, match=rf"does not fit config 'tiny': .*Without {only} the other layers of"):
            starting_network(config, str(path), None, seed=3, only=only)
    for config in (several, values):
        starting_network(config, str(path), None, seed=3, only=KEEP_LANDMARKS)  # the points are the weights'


def test_weights_without_values_begin_a_network_with_some(tmp_path: Path) -> None:
    path = tmp_path / "faces.pth"
    faces = tiny_network().eval()
    torch.save(faces.state_dict(), path)
    config = replace(TINY, classes=("a", "b"), values=(ValueHead("age", 1), ValueHead("pose", 3)))
    network, origin = starting_network(config, str(path), None, seed=3)
    assert origin.note.endswith("; its face is the beginning of each class; its heads of age, pose are random")
    known = faces.state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith(("ValueHead_", "ClassHead.")) or torch.equal(value, known[name])
    assert network.head("pose", 0).conv1x1.weight.std() > 0


def test_weights_that_are_not_there_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def load(*given: Any, **more: Any) -> Any:
        tried.append(given)
        return load_model(*given, **more)

    monkeypatch.setattr("engine.train.start.load_model", load)
    with pytest.raises(WeightsError, match=r"gone\.pth"):
        starting_network(replace(TINY, classes=("a", "b"), mirrored_points=(0, 1)), "gone.pth", None, seed=0)
    assert len(tried) == 1


def test_two_starts_are_one_too_many() -> None:
    with pytest.raises(InvalidArgumentError, match="are given: the first ones have a body too"):
        starting_network(TINY, "random", "body.pth", seed=0)
