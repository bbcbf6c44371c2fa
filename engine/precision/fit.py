"""Fitting a quantised network to its calibration images: equalisation, ranges, biases, learned rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from engine.config import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.precision.bias import correct_biases
from engine.precision.equalise import equalise
from engine.precision.graph import Graph
from engine.precision.images import CalibrationImages
from engine.precision.learn import learn
from engine.precision.observe import channel_maxima, histograms
from engine.precision.placement import Assignment, points, scale_groups
from engine.precision.qdq import to_half
from engine.precision.ranges import METHODS, check_method
from engine.precision.simulate import LARGEST, Simulation
from engine.types import FloatArray

_BIAS_IMAGES = 8
# Learning repeats the network hundreds of times: minutes for a small one, hours for a large one.
_LEARNING_STEPS = 500
_LEARNING_MACS = 2_000_000_000


@dataclass(frozen=True)
class Techniques:
    """What is done to keep the faces, each of it on or off.

    Attributes:
        method: one of ranges.METHODS, how activations' ranges come from what calibration saw.
        equalise: give every channel of a tensor one range.
        correct_biases: let biases take back the shift of the channels' means.
        learning_steps: of learned rounding; None is 500 where the network is small enough to learn within minutes on a
            CPU, else 0.
    """

    method: str = "max"
    equalise: bool = True
    correct_biases: bool = True
    learning_steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse what there is not."""
        check_method(self.method)
        if self.learning_steps is not None and self.learning_steps < 0:
            raise InvalidArgumentError(f"learning_steps is {self.learning_steps}, expected 0 or more")

    def steps_for(self, graph: Graph) -> int:
        """How many steps of learning a network gets."""
        if self.learning_steps is not None:
            return self.learning_steps
        return _LEARNING_STEPS if sum(c.macs for c in graph.convolutions.values()) <= _LEARNING_MACS else 0


def fit(
    config: RetinaFaceConfig,
    graph: Graph,
    assignments: list[Assignment],
    images: CalibrationImages,
    techniques: Techniques,
    on_stage: Callable[[str], None],
) -> tuple[Simulation, Simulation]:
    """Calibrate a network and return it in floating point and quantised.

    Args:
        config: of the model.
        graph: rescaled in place where equalisation is on.
        assignments: the network ends with the first; scales are made for all.
        images: only the `fitting` half is looked at.
        techniques: what to do.
        on_stage: called with a text as each stage begins and goes on.

    Raises:
        CalibrationError: the network's values are not finite, or an image has become unreadable.
    """
    wanted = list(dict.fromkeys(point for assignment in assignments for point in points(graph, assignment)))
    names = list(dict.fromkeys(name for name, _ in wanted))
    on_stage(f"Calibrating with {len(images.fitting)} images")
    maxima = channel_maxima(Simulation(graph), images.batches(images.fitting), names)
    if techniques.equalise:
        maxima = equalise(graph, maxima)
    reference, network = Simulation(graph), Simulation(graph)
    ranges = _ranges(graph, reference, images, maxima, techniques.method)
    groups = scale_groups(graph)
    for name, kind in wanted:
        leader = groups.get(name, name)
        network.scales[leader, kind] = to_half(torch.tensor(ranges[leader] / LARGEST[kind]))
    for assignment in assignments:
        for name, kind in assignment.items():
            largest = network.weights[name].abs().amax(dim=(1, 2, 3), keepdim=True)
            network.steps[name, kind] = to_half(largest / LARGEST[kind])
    network.assignment = assignments[0]
    if techniques.correct_biases:
        on_stage("Correcting biases")
        sample = images.fitting[:: max(1, len(images.fitting) // _BIAS_IMAGES)][:_BIAS_IMAGES]
        correct_biases(graph, reference, network, torch.from_numpy(np.concatenate(list(images.batches(sample)))))
    steps = techniques.steps_for(graph)
    if steps:
        learn(config, reference, network, images, steps, lambda done, total: on_stage(f"Learning {done}/{total}"))
        network.scales = {point: to_half(scale) for point, scale in network.scales.items()}
    return reference, network


def _ranges(
    graph: Graph, reference: Simulation, images: CalibrationImages, maxima: dict[str, FloatArray], method: str
) -> dict[str, float]:
    """The range of each scale group, by its leader."""
    groups = scale_groups(graph)
    largest: dict[str, float] = {}
    for name, channels in maxima.items():
        leader = groups.get(name, name)
        # A tensor that is always zero still needs a scale.
        largest[leader] = max(largest.get(leader, 1e-3), float(channels.max()))
    if method == "max":
        return largest
    counts = histograms(reference, images.batches(images.fitting), largest)
    return {name: METHODS[method](counts[name], largest[name]) for name in largest}
