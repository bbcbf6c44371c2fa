"""The moving average of the weights, which finds more faces than the last ones do."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


class Average(Generic[Model]):
    """An exponential moving average of a model's parameters and statistics.

    After `n` updates the decay is min(decay, (1 + n) / (10 + n)), so that a short run is not held at its beginning.
    A value that does not change is kept to the bit.

    Attributes:
        model: with the average; in evaluation mode.
        updates: their number.
    """

    def __init__(self, model: Model, decay: float) -> None:
        """Begin with a model's values; 0 as decay is no average."""
        self.model: Model = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in a model's values."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        given = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                value.lerp_(given[name], 1 - decay)
            else:  # counters
                value.copy_(given[name])
