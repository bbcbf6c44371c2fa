"""SGD's groups, the learning rate, the average of the weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import InvalidArgumentError
from engine.train.averaging import Average
from engine.train.optimiser import learning_rate, make_optimiser
from engine.train.settings import TrainSettings
from tests.support.training.runs import tiny_network


def test_warm_up_then_cosine() -> None:
    settings = TrainSettings(learning_rate=0.1, warm_up=9)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[4] == pytest.approx(0.05 * (1 + math.cos(0.04 * math.pi)) / 2)
    assert rates[50] == pytest.approx(0.05)
    assert rates[99] == pytest.approx(0.1 * (1 - math.cos(0.01 * math.pi)) / 2)
    assert np.argmax(rates) == 9


def test_steps_drop_where_upstream_does() -> None:
    """At 190 and 220 of 250 epochs."""
    settings = TrainSettings(learning_rate=1.0, warm_up=0, schedule="steps")
    rates = [learning_rate(settings, step, 250) for step in range(250)]
    assert rates == pytest.approx([1.0] * 190 + [0.1] * 30 + [0.01] * 30)


def test_only_weights_of_convolutions_decay() -> None:
    network = tiny_network()
    network.body.requires_grad_(False)
    groups = make_optimiser(network, TrainSettings(weight_decay=0.5)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            wanted = 0.5 if isinstance(module, nn.Conv2d) and name == "weight" else 0.0
            assert decays.get(id(parameter), wanted) == wanted
    assert len(decays) == sum(1 for p in network.parameters() if p.requires_grad)


def test_the_average_follows_its_recurrence_and_keeps_what_does_not_change() -> None:
    model = nn.BatchNorm2d(2)
    average = Average(model, 0.5)
    assert model.num_batches_tracked is not None
    expected, fixed = model.weight.detach().double().numpy(), 1 / 3
    with torch.no_grad():
        model.bias.fill_(fixed)
        average.model.bias.fill_(fixed)
        for n in range(1, 30):
            model.weight.add_(n)
            model.num_batches_tracked.add_(1)
            average.update(model)
            decay = min(0.5, (1 + n) / (10 + n))
            expected = decay * expected + (1 - decay) * model.weight.double().numpy()
    np.testing.assert_allclose(average.model.weight.numpy(), expected, rtol=1e-5)  # float32, 30 sums
    assert torch.equal(average.model.bias, model.bias)
    assert average.model.num_batches_tracked == 29


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 100), ("epochs", 0), ("batch", 0), ("learning_rate", 0.0), ("momentum", 1.0), ("weight_decay", -1.0),
     ("warm_up", -1), ("schedule", "linear"), ("clip", -1.0), ("average", 1.0), ("seed", -1),
     ("learning_rate", math.nan), ("clip", math.nan)],
)  # fmt: skip
def test_settings_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"training: {name.replace('_', ' ')} is "):
        replace(TrainSettings(), **{name: value})  # type: ignore[arg-type]
