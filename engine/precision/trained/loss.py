"""What training makes small: the difference of a quantised network's heads from the float32 network's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.config.model import RetinaFaceConfig
from engine.precision.qdq.heads import by_anchor, deltas_of, margins, tells_points

# Weights of the terms; that of boxes is 1.
_LANDMARKS, _MARGINS, _SCORES = 0.3, 0.5, 2.0
# Anchors of smaller face probability count by their scores alone.
_LEAST_FACE = 0.05


def distillation_loss(config: RetinaFaceConfig, wanted: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
    """Return the difference of the heads, a scalar.

    Near faces: the squared differences of deltas and of the margin between the class logits, weighted by the face
    probability of `wanted`. The margin matters beyond the score: it decides which anchor on a face gives the box.
    Everywhere: the Kullback-Leibler divergence of the face probabilities, so that no face is lost and none is new.

    Args:
        config: names of the heads.
        wanted: heads of the float32 network.
        given: heads of the quantised network.
    """
    total, faces = torch.zeros(()), torch.zeros(())
    for level in config.levels:
        name = f"logits_{level.stride}"
        wanted_margin, given_margin = margins(config, wanted[name]), margins(config, given[name])
        probability = torch.sigmoid(wanted_margin)
        face = torch.where(probability > _LEAST_FACE, probability, 0.0)
        for delta, _ in deltas_of(config, level.stride):
            error = by_anchor((given[delta] - wanted[delta]) ** 2, face.shape[1]).mean(2)
            total = total + (_LANDMARKS if tells_points(config, delta) else 1.0) * (face * error).sum()
        total = total + _MARGINS * (face * (given_margin - wanted_margin) ** 2).sum()
        divergence = _cross_entropy(given_margin, probability) - _cross_entropy(wanted_margin, probability)
        total = total + _SCORES * divergence
        faces = faces + face.sum()
    return total / faces.clamp_min(1.0)


def _cross_entropy(margin: Tensor, probability: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(margin, probability, reduction="sum")
