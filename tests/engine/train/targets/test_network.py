"""The network as it is trained, and that it learns one batch by heart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.model.retinaface import RetinaFace
from engine.train.targets.anchors import anchors_of, per_anchor
from engine.train.targets.classification import start_focal
from engine.train.targets.coding import decode_boxes, move_anchors
from engine.train.targets.loss import MultiTaskLoss
from engine.train.targets.network import TrainedNetwork
from tests.engine.train.targets.cases import CASCADE, PLAIN, Batch

SMALL = replace(PLAIN, name="small", fpn_channels=32)
SIZE = (64, 64)


class Patches(RetinaFace):
    """A network whose features are one convolution of each cell's own pixels: it can learn a picture in a second."""

    def __init__(self, config: RetinaFaceConfig) -> None:
        super().__init__(config)
        self.cells = nn.ModuleList(nn.Conv2d(3, config.fpn_channels, v.stride, v.stride) for v in config.levels)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [cells(images) for cells in self.cells]


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, cascade=True), replace(CASCADE, heads=("class", "box"))])
def test_heads_of_training_are_behind_those_of_the_network(config: RetinaFaceConfig) -> None:
    network = RetinaFace(config).eval()
    trained = TrainedNetwork(network).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        heads, own = trained(images), network(images)
    assert all(torch.equal(a, b) for a, b in zip(heads, own, strict=False))
    kinds = config.head_kinds()
    copied = [head for i, head in enumerate(own) if kinds[i % len(kinds)] in ("logits", "landmark_deltas")]
    expected = copied if config.cascade else []
    assert len(heads) == len(own) + len(expected)
    assert all(torch.equal(a, b) for a, b in zip(heads[len(own) :], expected, strict=True))
    assert network.state_dict().keys() == RetinaFace(config).state_dict().keys()
    parameters = {id(parameter) for parameter in trained.parameters()}
    assert len(parameters) == len(list(trained.parameters()))  # copies, not the same tensors


@pytest.mark.parametrize(("names", "coding"), [("a", "softmax"), ("abc", "softmax"), ("abc", "sigmoid")])
def test_focal_loss_starts_with_low_scores(names: str, coding: str) -> None:
    network = RetinaFace(replace(SMALL, classes=tuple(names), class_coding=coding))
    start_focal(network)
    for level in range(3):
        bias = network.head("logits", level).conv1x1.bias
        assert bias is not None
        logits = bias.detach().reshape(2, -1)
        scores = torch.sigmoid(logits) if coding == "sigmoid" else 1 - torch.softmax(logits, 1)[:, 0]
        torch.testing.assert_close(scores, torch.full_like(scores, 0.01))


@pytest.mark.parametrize(
    ("changed", "focal"),
    [
        ({}, False),
        ({}, True),
        ({"cascade": True}, False),
        ({"classes": ("a", "b", "c")}, False),
        ({"classes": ("a", "b", "c"), "class_coding": "sigmoid"}, False),
    ],
    ids=["plain", "focal", "cascade", "classes", "sigmoid"],
)
def test_learns_one_batch_by_heart(changed: dict[str, Any], focal: bool) -> None:
    config = replace(SMALL, **changed)
    several, sigmoid = len(config.classes) > 1, config.class_coding == "sigmoid"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = TrainedNetwork(Patches(config))
        images, places = torch.randn(2, 3, *SIZE), torch.rand(5, 2)
    boxes = [torch.tensor([[4.0, 6, 22, 28], [30, 20, 62, 60]]), torch.tensor([[10.0, 8, 50, 57]])]
    landmarks = [box[:, None, :2] + (box[:, None, 2:] - box[:, None, :2]) * places for box in boxes]
    landmarks[0][1] = torch.nan
    zeros = [torch.zeros(len(box), dtype=torch.int64) for box in boxes]
    nothing = [torch.zeros(len(box), 0) for box in boxes]
    batch = Batch(boxes, landmarks, [zero.bool() for zero in zeros], [zero + 1 for zero in zeros], nothing)
    if several:
        batch = batch._replace(classes=[torch.tensor([3, 1]), torch.tensor([2])])
    loss = MultiTaskLoss(config, focal=focal)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 120)
    for _ in range(120):
        optimiser.zero_grad()
        losses = loss(model(images), batch)
        losses.total.backward()
        optimiser.step()
        rates.step()
    assert losses.total < 0.02 * (len(config.classes) if sigmoid else 1)  # a decision about each class
    with torch.no_grad():
        heads = model.network(images)
    kinds = config.head_kinds()
    values = {kind: per_anchor(heads[i :: len(kinds)], kind, config.head_values(kind)) for i, kind in enumerate(kinds)}
    for i, truth in enumerate(boxes):
        anchors = anchors_of(config, *SIZE)
        if config.cascade:
            anchors = move_anchors(values["anchor_deltas"][i], anchors, config.variances)
        found = decode_boxes(values["box_deltas"][i], anchors, config.variances)
        logits = values["logits"][i]
        probabilities = logits.sigmoid() if sigmoid else logits.softmax(1)[:, 1:]
        for box, number in zip(truth, batch.classes[i], strict=True):
            scores = probabilities[:, int(number) - 1]
            nearest = (found - box).abs().amax(1) + 1e3 * (scores < 0.5)
            assert nearest.min() < 1.0  # pixel
