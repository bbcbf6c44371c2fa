"""Learned rounding: the quantised network is taught to answer as the floating-point one does.

Each weight may move from its own grid point to a neighbour's, biases and scales follow, by gradient descent through the
rounding (straight-through estimator). The teacher needs no labels: what counts is the difference of the heads, weighted
by how sure the teacher is of a face, since an anchor without one is never decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.config import RetinaFaceConfig
from engine.precision.images import CalibrationImages
from engine.precision.simulate import Simulation

# Steps of descent are in units of one grid step, of a bias's own scale, and of a relative change.
_WEIGHT_RATE, _BIAS_RATE, _SCALE_RATE = 3e-3, 1e-4, 3e-4
_BATCH = 2
_CROP = 320
_BACKGROUND = 0.02
_CLASS_SHARE, _LANDMARK_SHARE = 0.05, 0.3
_NEAR_CANDIDATE = 4.0  # logits below even odds at which an anchor may still become a candidate


def learn(
    config: RetinaFaceConfig,
    reference: Simulation,
    network: Simulation,
    images: CalibrationImages,
    steps: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fit weights, biases and scales of a quantised network to the reference, in place.

    Args:
        config: names and shapes of the heads.
        reference: the same network in floating point.
        network: quantised, with calibrated scales.
        images: the teacher's pictures; only its `fitting` half is looked at.
        steps: of gradient descent.
        on_step: called with how many steps are done and how many there are.
    """
    rng = np.random.default_rng(0)
    centres = {index: _face_centres(config, reference, images.batch(index)) for index in images.fitting}
    names = [name for name in network.weights if name in network.assignment]
    steps_of = {name: network.steps[name, network.assignment[name]] for name in names}
    start = {name: network.weights[name] for name in names}
    moves = {name: torch.zeros_like(start[name], requires_grad=True) for name in names}
    biases = {name: network.biases[name].clone().requires_grad_() for name in network.biases}
    logs = {point: scale.log().requires_grad_() for point, scale in network.scales.items()}
    optimiser = torch.optim.Adam(
        [
            {"params": list(moves.values()), "lr": _WEIGHT_RATE},
            {"params": list(biases.values()), "lr": _BIAS_RATE},
            {"params": list(logs.values()), "lr": _SCALE_RATE},
        ]
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    network.biases = dict(biases)
    for step in range(steps):
        batch = torch.from_numpy(np.concatenate([_crop(images, centres, rng) for _ in range(_BATCH)]))
        with torch.no_grad():
            wanted = reference.run(batch)
        for name in names:
            network.weights[name] = start[name] + steps_of[name] * moves[name]
        network.scales = {point: log.exp() for point, log in logs.items()}
        loss = head_difference(config, wanted, network.run(batch))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
        on_step(step + 1, steps)
    with torch.no_grad():
        network.scales = {point: log.exp() for point, log in logs.items()}
        network.biases = {name: bias.detach() for name, bias in biases.items()}
        for name in names:
            network.weights[name] = start[name] + steps_of[name] * moves[name]


def head_difference(config: RetinaFaceConfig, wanted: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
    """Mean absolute difference of the heads, weighted by the reference's face probability; a scalar."""
    boxes, box_weight = torch.zeros(()), torch.full((), 1e-6)
    classes, class_weight = torch.zeros(()), torch.full((), 1e-6)
    for level in config.levels:
        margin, face = _margins(wanted[f"logits_{level.stride}"])
        given_margin, _ = _margins(given[f"logits_{level.stride}"])
        for name, share in deltas_of(config, level.stride):
            # [N, A, k, h, w], mean over the k components of an anchor.
            difference = (given[name] - wanted[name]).unflatten(1, (margin.shape[1], -1)).abs().mean(2)
            boxes = boxes + share * (face * difference).sum()
        box_weight = box_weight + face.sum()
        near = face + _BACKGROUND * torch.sigmoid(margin + _NEAR_CANDIDATE)
        classes = classes + (near * (given_margin - margin).abs()).sum()
        class_weight = class_weight + near.sum()
    return boxes / box_weight + _CLASS_SHARE * classes / class_weight


def deltas_of(config: RetinaFaceConfig, stride: int) -> list[tuple[str, float]]:
    """Names of a level's regression heads, and how much each counts."""
    return [
        (name, _LANDMARK_SHARE if name.startswith("landmark") else 1.0)
        for name in config.head_names()
        if name.endswith(f"_{stride}") and not name.startswith("logits")
    ]


def _margins(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logit margin and probability of a face, [N, A, h, w]."""
    pairs = logits.unflatten(1, (-1, 2))
    margin = pairs[:, :, 1] - pairs[:, :, 0]
    return margin, torch.sigmoid(margin)


def face_weights(logits: Tensor) -> Tensor:
    """Probability of a face of each anchor, [N, A, h, w]."""
    return _margins(logits)[1]


def _face_centres(config: RetinaFaceConfig, reference: Simulation, batch: np.ndarray) -> Sequence[tuple[int, int]]:
    """Cells, in pixels (y, x), where the reference sees a face."""
    with torch.no_grad():
        heads = reference.run(torch.from_numpy(batch))
    found: list[tuple[int, int]] = []
    for level in config.levels:
        _, face = _margins(heads[f"logits_{level.stride}"])
        for y, x in (face[0].amax(0) > 0.5).nonzero().tolist():
            found.append((y * level.stride, x * level.stride))
    return found


def _crop(
    images: CalibrationImages, centres: dict[int, Sequence[tuple[int, int]]], rng: np.random.Generator
) -> np.ndarray:
    """A random part of a random picture, mirrored or not, around a face if it has one; [1, 3, h, w]."""
    index = int(rng.choice(list(centres)))
    batch = images.batch(index)
    multiple = images.letterbox.config.max_stride
    faces = centres[index]
    around = faces[rng.integers(len(faces))] if faces else None
    part = batch
    for axis in (2, 3):
        length = batch.shape[axis]
        side = min(length, -(-_CROP // multiple) * multiple)
        low, high = 0, length - side
        if around is not None:
            low, high = max(low, around[axis - 2] - side), min(high, around[axis - 2])
        begin = int(rng.integers(low // multiple, max(low, high) // multiple + 1)) * multiple
        part = part.take(range(begin, begin + side), axis=axis)
    return part[..., ::-1].copy() if rng.random() < 0.5 else part
