"""The loss of distillation, against a statement of it in NumPy."""

from __future__ import annotations

import numpy as np
import torch

from engine.precision.trained.loss import distillation_loss
from engine.types import FloatArray
from tests.support import graphs

VALUES = {"logits": 2, "box_deltas": 4, "landmark_deltas": 10}
ANCHORS = 2


def _heads(rng: np.random.Generator, size: float) -> dict[str, FloatArray]:
    return {
        f"{kind}_{level.stride}": rng.normal(0, size, (1, ANCHORS * count, 3, 2)).astype(np.float32)
        for level in graphs.CONFIG.levels
        for kind, count in VALUES.items()
    }


def _tensors(heads: dict[str, FloatArray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in heads.items()}


def _of_anchors(heads: dict[str, FloatArray], kind: str, stride: int) -> FloatArray:
    """Return the values of each anchor of a level, float64 [anchors, values]."""
    head = heads[f"{kind}_{stride}"][0].astype(np.float64)
    values: FloatArray = head.reshape(ANCHORS, VALUES[kind], -1).transpose(0, 2, 1).reshape(-1, VALUES[kind])
    return values


def test_the_loss(rng: np.random.Generator) -> None:
    wanted = _heads(rng, 2.5)
    given = {name: value + rng.normal(0, 0.3, value.shape).astype(np.float32) for name, value in wanted.items()}
    total, faces = 0.0, 0.0
    for level in graphs.CONFIG.levels:
        ours, theirs = ({kind: _of_anchors(heads, kind, level.stride) for kind in VALUES} for heads in (wanted, given))
        for anchor in range(ANCHORS * 3 * 2):
            margins = [float(np.diff(heads["logits"][anchor])[0]) for heads in (ours, theirs)]
            p, q = (1 / (1 + np.exp(-margin)) for margin in margins)
            total += 2.0 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
            if p <= 0.05:
                continue
            faces += p
            total += p * 0.5 * (margins[0] - margins[1]) ** 2
            total += p * np.mean((ours["box_deltas"][anchor] - theirs["box_deltas"][anchor]) ** 2)
            total += p * 0.3 * np.mean((ours["landmark_deltas"][anchor] - theirs["landmark_deltas"][anchor]) ** 2)
    loss = distillation_loss(graphs.CONFIG, _tensors(wanted), _tensors(given))
    np.testing.assert_allclose(loss.item(), total / faces, rtol=1e-4)
    assert abs(distillation_loss(graphs.CONFIG, _tensors(wanted), _tensors(wanted)).item()) < 1e-5
