"""The optimiser, and its learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from engine.train.quantised.network import QuantisedNetwork
from engine.train.settings import TrainSettings

SHARE = "share"  # of the learning rate, in a group of the optimiser
_DROPS = (0.76, 0.88)  # shares of the epochs after which "steps" drops: 190 and 220 of upstream's 250
_DROP = 0.1


def make_optimiser(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimiser of the parameters that need gradients.

    It is SGD, where only weights of convolutions decay; Adam for a quantised network, whose gradients have magnitudes
    that differ by layer. What it trains are differences, which do not decay.
    """
    if isinstance(model, QuantisedNetwork):
        return torch.optim.Adam(
            [{"params": values, SHARE: share} for share, values in model.by_share().items()], lr=settings.learning_rate
        )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def learning_rate(settings: TrainSettings, step: int, steps: int) -> float:
    """Return the learning rate of a step, which counts from 0, of a run of `steps`."""
    warm = min(1.0, (step + 1) / (settings.warm_up + 1))
    done = step / steps
    if settings.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * done))
    else:
        factor = _DROP ** sum(done >= drop for drop in _DROPS)
    return settings.learning_rate * warm * factor


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters, of which some have a share of it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(SHARE, 1.0)
