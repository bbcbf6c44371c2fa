"""Clipping each channel where it costs least at the heads.

A range that is too small clips, one that is too large rounds coarsely. Which is worse depends on where it happens: most
of a photo is background, whose values the heads near faces hardly depend on. Every value therefore counts as the
square of the heads' gradient with respect to it (the diagonal of the Fisher information, as in Li et al., BRECQ, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from engine.config import RetinaFaceConfig
from engine.precision.heads import run_with_gradients
from engine.precision.simulate import Simulation
from engine.types import FloatArray

_BINS = 256
_CANDIDATES = 64
_LEVELS = 127


def important_ranges(
    config: RetinaFaceConfig, network: Simulation, batches: Iterable[FloatArray], maxima: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return the range of each channel, [C], that minimises the importance-weighted error of 8-bit integers.

    Args:
        config: names of the heads.
        network: in floating point.
        batches: float32 [1, 3, H, W].
        maxima: largest magnitude of each channel, [C], of the tensors that are wanted.
    """
    generator = torch.Generator().manual_seed(0)
    tops = {name: torch.from_numpy(values).clamp_min(1e-6) for name, values in maxima.items()}
    weights = {name: torch.zeros(len(top), _BINS) for name, top in tops.items()}
    for batch in batches:
        values = run_with_gradients(config, network, torch.from_numpy(batch), generator)
        for name, top in tops.items():
            gradient = values[name].grad
            if gradient is None:
                continue
            bins = (values[name].detach()[0].abs() / top[:, None, None] * _BINS).long().clamp_max(_BINS - 1)
            bins += torch.arange(len(top))[:, None, None] * _BINS
            counts = torch.bincount(bins.flatten(), (gradient[0] ** 2).flatten(), weights[name].numel())
            weights[name] += counts.view_as(weights[name])
    return {name: (top * _best_share(weights[name])).numpy() for name, top in tops.items()}


def _best_share(weights: torch.Tensor) -> torch.Tensor:
    """Share of the maximum, [C], to clip at, given the importance of each bin [C, _BINS]."""
    centres = (torch.arange(_BINS) + 0.5) / _BINS
    shares = torch.linspace(1.0, 1.0 / _CANDIDATES, _CANDIDATES)
    clipped = (centres - shares[:, None]).clamp_min(0.0) ** 2
    # Rounding to steps of s loses s^2 / 12 on average.
    rounded = torch.where(centres <= shares[:, None], (shares[:, None] / _LEVELS) ** 2 / 12, torch.zeros(()))
    return shares[((clipped + rounded) @ weights.T).argmin(0)]
