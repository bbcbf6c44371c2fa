"""Layers that are not trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.config.backbones import BACKBONES
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.train.freezing import freeze, train_mode
from tests.support.training.runs import tiny_network

# The smallest backbone of each kind.
KINDS = {backbone.body: name for name, backbone in reversed(BACKBONES.items())}.values()


def frozen_names(network: RetinaFace) -> set[str]:
    """The modules with parameters of their own, none of which is trained."""
    return {
        name
        for name, module in network.named_modules()
        if (own := list(module.parameters(recurse=False))) and not any(p.requires_grad for p in own)
    }


@pytest.mark.parametrize("name", KINDS)
def test_stages_of_every_backbone_freeze_all_that_comes_before_their_features(name: str) -> None:
    """Read off the computation: the frozen parameters are those without which the stage's features do not come."""
    with torch.device("meta"):
        config = replace(PRESETS["resnet50"], name="any", backbone=name, levels=PRESETS["resnet50"].levels)
        network = RetinaFace(config)
        stages = len(network.body.parts()) - 1
        body = {n for n, _ in network.body.named_parameters()}
        names = [f"stage{i}" for i in range(1, stages + 1)]
        last: set[str] = set()
        for what in ["stem", *names]:
            network.requires_grad_(True)
            freeze(network, what)
            frozen = {n for n, p in network.body.named_parameters() if not p.requires_grad}
            assert last < frozen
            last = frozen
        assert last == body
        features = len(BACKBONES[name].strides)
        for index, what in enumerate(names[::-1][:features]):
            network.requires_grad_(True)
            freeze(network, what)
            feature = network.body(torch.zeros(1, 3, 64, 64))[features - 1 - index]
            if what != "stage1" or stages == features:  # MobileNetV1's first stage has two of the features
                assert not feature.requires_grad


def test_all_but_heads_leaves_the_heads_and_nothing_else() -> None:
    network = tiny_network()
    freeze(network, "all-but-heads")
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"ClassHead", "BboxHead", "LandmarkHead"}
    assert frozen_names(network)


def test_statistics_of_frozen_batch_normalisations_stay_the_same_and_others_move() -> None:
    network = tiny_network()
    frozen = freeze(network, "stage1")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train_mode(network, frozen)
    network(torch.rand(2, 3, 64, 64))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in before if "running" in name}
    assert {name for name in statistics if name.startswith("body.stage1.")}
    assert moved & statistics == {name for name in statistics if not name.startswith("body.stage1.")}


def test_a_stage_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"cannot freeze 'stage4' of tiny, .*stem, stage1, stage2, stage3, body"
    ):
        freeze(tiny_network(), "stage4")


def test_nothing_is_frozen_by_default() -> None:
    network = tiny_network()
    assert freeze(network, "none") == []
    assert all(p.requires_grad for p in network.parameters())
