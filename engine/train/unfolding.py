"""Batch normalisations of weights in which they were folded into the convolutions, as in published ONNX files.

They change nothing in evaluation mode. In training mode they would normalise by the batch what was never normalised,
and the network would be another one after the first step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import nn

from engine.train.samples import TrainingSet, collate
from engine.train.samples.batch import Normaliser

_SAMPLES = 64
_BATCH = 8
_TOLERANCE = 1e-6  # folded weights have a variance of 1 - eps, new layers one of 1


class _Sums:
    """Sums of a batch normalisation's input over images and pixels, by channel."""

    def __init__(self, channels: int, device: torch.device) -> None:
        self.sums = torch.zeros(2, channels, dtype=torch.float64, device=device)
        self.count = 0

    def add(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = inputs[0].double()
        self.sums += torch.stack([values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))])
        self.count += values.numel() // values.shape[1]


@torch.no_grad()
def unfold(network: nn.Module, images: Iterable[torch.Tensor]) -> int:
    """Give folded batch normalisations the statistics of images, and scales and shifts that undo them.

    What the network computes in evaluation mode stays the same up to rounding, and in training mode it is about that.

    Args:
        network: in evaluation mode.
        images: batches, normalised, of the pictures that will be trained on; read only if something is folded.

    Returns:
        The number of layers that were folded.
    """
    folded = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and _is_folded(module)]
    if not folded:
        return 0
    sums = [_Sums(module.num_features, module.weight.device) for module in folded]
    hooks = [m.register_forward_pre_hook(partial(_Sums.add, s)) for m, s in zip(folded, sums, strict=True)]
    for batch in images:
        network(batch)
    for hook in hooks:
        hook.remove()
    for module, found in zip(folded, sums, strict=True):
        mean, square = found.sums / found.count
        variance = (square - mean**2).clamp(min=0)
        assert module.running_mean is not None
        assert module.running_var is not None
        module.bias.add_(module.weight * mean)
        module.weight.mul_((variance + module.eps).sqrt())
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)
    return len(folded)


def some_images(samples: TrainingSet) -> Iterator[torch.Tensor]:
    """Give batches of samples, spread over the pictures."""
    normalise = Normaliser(samples.config, torch.device("cpu"))
    step = max(1, len(samples) // _SAMPLES)
    indices = range(0, len(samples), step)[:_SAMPLES]
    for start in range(0, len(indices), _BATCH):
        yield normalise(collate([samples[i] for i in indices[start : start + _BATCH]]).images)


def _is_folded(module: nn.BatchNorm2d) -> bool:
    if module.running_mean is None or module.running_var is None:
        return False
    scales = module.running_var + module.eps - 1
    return not module.running_mean.any() and bool((scales.abs() < _TOLERANCE).all())
