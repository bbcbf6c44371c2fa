"""The losses of points and of plain values, of anchors that have a face: smooth L1 distances, beta 1."""

from __future__ import annotations

import torch
from torch.nn.functional import smooth_l1_loss

from engine.config.heads import FIVE_MIRRORED
from engine.train.targets.coding import Variances, encode_landmarks


def points_loss(
    deltas: torch.Tensor,
    points: torch.Tensor,
    anchors: torch.Tensor,
    variances: Variances,
    taught: torch.Tensor | None = None,
) -> tuple[torch.Tensor, int]:
    """Return the distance of deltas [P, 2 L] from the codes of points [P, L, 2], times 5 / L, and how many have codes.

    Points of which one is NaN have none, unless `taught`, other deltas [P, 2 L], are their codes.
    """
    codes = encode_landmarks(points.to(deltas.dtype), anchors, variances)
    known = torch.isfinite(points).flatten(1).all(1)
    if taught is not None:
        codes = torch.where(known[:, None], codes, taught)
        known = torch.ones_like(known)
    distance = smooth_l1_loss(deltas[known], codes[known], reduction="sum")
    return distance * (len(FIVE_MIRRORED) / points.shape[1]), int(known.sum())


def plain_loss(found: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the mean distance of numbers [P, D] from those that are given, and of how many faces any is."""
    there = torch.isfinite(given)
    distance = smooth_l1_loss(found[there], given[there].to(found.dtype), reduction="sum")
    return distance / given.shape[1], int(there.any(1).sum())
