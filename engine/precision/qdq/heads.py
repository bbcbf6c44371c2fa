"""The difference of two networks' raw heads near faces, and the gradients of the heads."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config.model import RetinaFaceConfig
from engine.precision.qdq.simulate import Simulation

# Weights of the mean squared errors of landmarks and of the margin between class logits; that of boxes is 1.
_LANDMARK_SHARE, _MARGIN_SHARE = 0.15, 0.25


def deltas_of(config: RetinaFaceConfig, stride: int) -> list[tuple[str, float]]:
    """Return the names of a level's regression heads and their weights."""
    return [
        (name, _LANDMARK_SHARE if tells_points(config, name) else 1.0)
        for name in config.head_names()
        if name.endswith(f"_{stride}") and not name.startswith("logits")
    ]


def tells_points(config: RetinaFaceConfig, name: str) -> bool:
    """Return whether the head of this name, of one level, gives deltas of points."""
    points = {head.name for head in config.values if head.is_points}
    return name.rpartition("_")[0] in {"landmark_deltas", *points}


def face_weights(config: RetinaFaceConfig, logits: Tensor) -> Tensor:
    """Return the probability that an anchor has a face, of whatever class, [N, A, h, w]."""
    return torch.sigmoid(margins(config, logits))


def margins(config: RetinaFaceConfig, logits: Tensor) -> Tensor:
    """Return the logit of that probability, [N, A, h, w].

    With softmax log(sum over classes of exp(logit)) minus the background's logit: with one class the face logit minus
    the background logit. With sigmoid, where classes exclude nothing, the highest logit.
    """
    values = by_anchor(logits, logits.shape[1] // config.head_values("logits"))
    if config.class_coding == "sigmoid":
        return values.amax(2)
    return values[:, :, 1:].logsumexp(2) - values[:, :, 0]


def by_anchor(head: Tensor, anchors: int) -> Tensor:
    """Reshape a head [N, A * k, h, w] to [N, A, k, h, w]."""
    return head.reshape(head.shape[0], anchors, -1, *head.shape[2:])


def squared_head_error(config: RetinaFaceConfig, wanted: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
    """Return the squared difference of the heads, weighted by the face probability of `wanted` and summed; a scalar.

    The margin between the class logits counts, too: it decides which anchor on a face gives the box.
    """
    total = torch.zeros(())
    for level in config.levels:
        logits = f"logits_{level.stride}"
        face = face_weights(config, wanted[logits])
        for name, share in deltas_of(config, level.stride):
            difference = by_anchor(given[name] - wanted[name], face.shape[1])
            total = total + share * (face * (difference**2).mean(2)).sum()
        margin = margins(config, given[logits]) - margins(config, wanted[logits])
        total = total + _MARGIN_SHARE * (face * margin**2).sum()
    return total


def run_with_gradients(
    config: RetinaFaceConfig, network: Simulation, batch: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Run a batch and backpropagate a random combination of the heads.

    Each output is multiplied by the square root of its weight in squared_head_error and a random sign. The expected
    squared gradient of a value is then its squared effect on that error.

    Returns:
        All tensors by name, with gradients.
    """
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> None:
        if value.requires_grad:
            value.retain_grad()
        values[name] = value

    heads = network.run(batch.requires_grad_(), keep)
    combination = torch.zeros(())
    for level in config.levels:
        logits = heads[f"logits_{level.stride}"]
        face = face_weights(config, logits).detach()
        parts = [(share, by_anchor(heads[name], face.shape[1])) for name, share in deltas_of(config, level.stride)]
        parts.append((_MARGIN_SHARE, margins(config, logits)[:, :, None]))
        for share, part in parts:
            signs = torch.randint(0, 2, part.shape, generator=generator) * 2 - 1
            weight = share / part.shape[2] * face[:, :, None]
            combination = combination + weight.sqrt().mul(signs).mul(part).sum()
    combination.backward()  # type: ignore[no-untyped-call]
    return values
