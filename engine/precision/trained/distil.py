"""Training of a quantised network on pictures without labels: it learns the heads of the float32 network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from engine.errors import CalibrationError
from engine.precision.calibrate.observe import channel_maxima
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation
from engine.precision.trained.loss import distillation_loss
from engine.precision.trained.network import TrainableNetwork
from engine.precision.trained.pictures import TrainingPictures
from engine.types import FloatArray

_CROPS = 8  # in a step
_RANGE_CROPS = 32
# Of Adam: for weights and biases in their own steps, for scales in logarithms. Weights at .02 make training diverge.
_WEIGHT_RATE, _BIAS_RATE, _SCALE_RATE = 0.003, 0.003, 0.0003
_WARM_UP = 50
_REPORT = 50


def distil(
    graph: Graph, network: Simulation, pictures: TrainingPictures, steps: int, on_stage: Callable[[str], None]
) -> None:
    """Train a quantised network as it is assigned, in place.

    The same seed, pictures and number of threads give the same network.

    Args:
        graph: of the network.
        network: fitted; gets the trained weights, biases and scales.
        pictures: to train on.
        steps: of the optimiser.
        on_stage: called with a text as training goes on.

    Raises:
        CalibrationError: the difference of the heads is not finite.
    """
    config, reference, rng = pictures.config, pictures.reference, np.random.default_rng(0)
    crops = (pictures.batch(1, rng).numpy() for _ in range(_RANGE_CROPS))
    trained = TrainableNetwork(graph, network, network.assignment, output_ranges(graph, reference, crops))
    rates = (
        (trained.weight_changes, _WEIGHT_RATE),
        (trained.bias_changes, _BIAS_RATE),
        (trained.scale_changes, _SCALE_RATE),
    )
    groups = [{"params": list(changes.values()), "lr": rate} for changes, rate in rates]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, steps))
    recent: list[float] = []
    for step in range(steps):
        batch = pictures.batch(_CROPS, rng)
        with torch.no_grad():
            wanted = reference.run(batch)
        loss = distillation_loss(config, wanted, trained.run(batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise CalibrationError(
                f"training step {step + 1}: the difference of the heads is not finite; leave out --train-steps"
            )
        if (step + 1) % _REPORT == 0 or step + 1 == steps:
            on_stage(f"Training {step + 1}/{steps}: difference of the heads {fmean(recent):.4f}")
            recent.clear()
    trained.write_to(network)


def _share(step: int, steps: int) -> float:
    """Return the share of the learning rate: up in a few steps, then down along a cosine."""
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def output_ranges(graph: Graph, reference: Simulation, batches: Iterable[FloatArray]) -> dict[str, Tensor]:
    """Return the largest magnitude of each output channel of each convolution, [O], by its name.

    Args:
        graph: of the network.
        reference: the network in floating point.
        batches: images, float32 [N, 3, H, W].
    """
    outputs = {convolution.output: name for name, convolution in graph.convolutions.items()}
    maxima = channel_maxima(reference, batches, outputs)
    return {outputs[output]: torch.from_numpy(largest) for output, largest in maxima.items()}
