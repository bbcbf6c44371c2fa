"""Learned rounding: the quantised network is taught to answer as the floating-point one does.

Each weight may move from its own grid point to a neighbour's, biases and scales follow, by gradient descent through the
rounding (straight-through estimator). The teacher needs no labels: what counts is the difference of the heads, weighted
by how sure the teacher is of a face, since an anchor without one is never decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from engine.config.model import RetinaFaceConfig
from engine.precision.calibrate.crops import crop, face_centres
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.qdq.heads import squared_head_error
from engine.precision.qdq.simulate import Simulation, to_half

# Steps of descent are in units of one grid step, of a bias's own scale, and of a relative change.
_WEIGHT_RATE, _BIAS_RATE, _SCALE_RATE = 3e-3, 1e-4, 3e-4
_BATCH = 2


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
    centres = {index: face_centres(config, reference, images.batch(index)) for index in images.fitting}
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
        batch = torch.from_numpy(np.concatenate([crop(images, centres, rng) for _ in range(_BATCH)]))
        with torch.no_grad():
            wanted = reference.run(batch)
        for name in names:
            network.weights[name] = start[name] + steps_of[name] * moves[name]
        network.scales = {point: log.exp() for point, log in logs.items()}
        loss = squared_head_error(config, wanted, network.run(batch))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
        on_step(step + 1, steps)
    with torch.no_grad():
        network.scales = {point: to_half(log.exp()) for point, log in logs.items()}
        network.biases = {name: bias.detach() for name, bias in biases.items()}
        for name in names:
            network.weights[name] = start[name] + steps_of[name] * moves[name]
