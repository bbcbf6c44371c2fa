"""Ranges of activations with the least effect on the heads.

A small range clips large values, a large range rounds all values coarsely. The effect depends on the place: most of a
photo is background, whose values hardly change the heads near faces. The error of each value is therefore weighted by
its importance: the squared gradient of the heads with respect to it (the diagonal of the Fisher information, as in Li
et al., BRECQ, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from engine.config.formats import INT8
from engine.config.model import RetinaFaceConfig
from engine.precision.qdq.heads import run_with_gradients
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray

_BINS = 256
_CANDIDATES = 64
_LEVELS = INT8.largest
_TINY = torch.finfo(torch.float32).tiny


def important_ranges(
    config: RetinaFaceConfig,
    network: Simulation,
    batches: Iterable[FloatArray],
    maxima: dict[str, FloatArray],
    *,
    per_channel: bool,
) -> dict[str, FloatArray]:
    """Return the range of each channel, [C], that minimises the importance-weighted error of 8-bit integers.

    Args:
        config: names of the heads.
        network: in floating point.
        batches: float32 [1, 3, H, W].
        maxima: largest magnitude of each channel, [C], of the tensors to find ranges for.
        per_channel: whether each channel gets a range of its own. Otherwise one range, repeated for all channels,
            minimises their common error.

    Returns:
        Ranges by name of the tensor, 0 for a channel that is always zero.
    """
    generator = torch.Generator().manual_seed(0)
    largest = {name: torch.from_numpy(values) for name, values in maxima.items()}
    tops = {name: top if per_channel else top.max().expand_as(top) for name, top in largest.items()}
    weights = {name: torch.zeros(len(top), _BINS) for name, top in tops.items()}
    for batch in batches:
        values = run_with_gradients(config, network, torch.from_numpy(batch), generator)
        for name, top in tops.items():
            gradient = values[name].grad
            if gradient is None:
                continue
            bins = (values[name].detach()[0].abs() / top.clamp_min(_TINY)[:, None, None] * _BINS).long()
            bins = bins.clamp_max(_BINS - 1)
            bins += torch.arange(len(top))[:, None, None] * _BINS
            counts = torch.bincount(bins.flatten(), (gradient[0] ** 2).flatten(), weights[name].numel())
            weights[name] += counts.view_as(weights[name])
    if not per_channel:
        weights = {name: seen.sum(0, keepdim=True) for name, seen in weights.items()}
    return {name: (top * _best_share(weights[name])).numpy() for name, top in tops.items()}


def _best_share(weights: torch.Tensor) -> torch.Tensor:
    """Return the share of the maximum to clip at, [C], for the importance of each bin, [C, _BINS]."""
    centres = (torch.arange(_BINS) + 0.5) / _BINS
    shares = torch.linspace(1.0, 1.0 / _CANDIDATES, _CANDIDATES)
    clipped = (centres - shares[:, None]).clamp_min(0.0) ** 2
    # The mean squared error of rounding to steps of s is s^2 / 12.
    rounded = torch.where(centres <= shares[:, None], (shares[:, None] / _LEVELS) ** 2 / 12, torch.zeros(()))
    return shares[((clipped + rounded) @ weights.T).argmin(0)]
