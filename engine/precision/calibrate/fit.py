"""Fitting a quantised network to its calibration images: equalisation, ranges, rounding, biases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from engine.config.model import RetinaFaceConfig
from engine.precision.bias import correct_biases
from engine.precision.calibrate.equalise import equalise
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.calibrate.importance import important_ranges
from engine.precision.calibrate.observe import channel_maxima, histograms
from engine.precision.calibrate.ranges import RANGES
from engine.precision.calibrate.rounding import round_weights
from engine.precision.options import Techniques
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import FP8, INT8, Assignment, points, scale_groups
from engine.precision.qdq.simulate import LARGEST, Simulation, to_half
from engine.types import FloatArray

_BIAS_IMAGES = 8
_LARGE_NETWORK = 5_000_000  # weights
_LARGE_IMAGES = 16


def fit(
    config: RetinaFaceConfig,
    graph: Graph,
    assignments: list[Assignment],
    images: CalibrationImages,
    techniques: Techniques,
    on_stage: Callable[[str], None],
) -> tuple[Simulation, Simulation]:
    """Calibrate a network and return it in floating point and quantised; learning comes later.

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
    fitting = images.fitting
    # A large network's gradients take long and have many more values to average over.
    large = graph.num_weights > _LARGE_NETWORK
    with_gradients = fitting[:: max(1, len(fitting) // _LARGE_IMAGES)] if large else fitting
    maxima = channel_maxima(Simulation(graph), images.batches(fitting), names)
    ranges = maxima
    if techniques.method == "importance":
        on_stage("Weighing activations by importance")
        ranges = important_ranges(
            config, Simulation(graph), images.batches(with_gradients), maxima, per_channel=techniques.equalise
        )
    if techniques.equalise:
        equalised = equalise(graph, ranges)
        maxima = {n: c * _ratio(equalised[n], ranges[n]) for n, c in maxima.items()}
        ranges = equalised
    reference, network = Simulation(graph), Simulation(graph)
    # FP8 is as fine near zero as INT8 is only where it is clipped: its range is always the whole one.
    of_group = {
        INT8: _ranges(graph, reference, images, ranges, techniques.method),
        FP8: _ranges(graph, reference, images, maxima, "max"),
    }
    groups = scale_groups(graph)
    for name, kind in wanted:
        leader = groups.get(name, name)
        network.scales[leader, kind] = to_half(torch.tensor(of_group[kind][leader] / LARGEST[kind]))
    for assignment in assignments:
        for name, kind in assignment.items():
            largest = network.weights[name].abs().amax(dim=(1, 2, 3), keepdim=True)
            network.steps[name, kind] = to_half(largest / LARGEST[kind])
    network.assignment = network.fitted = assignments[0]
    if techniques.round_weights:
        on_stage("Rounding weights")
        round_weights(config, graph, reference, network, images.batches(with_gradients))
    if techniques.correct_biases:
        on_stage("Correcting biases")
        sample = fitting[:: max(1, len(fitting) // _BIAS_IMAGES)][:_BIAS_IMAGES]
        correct_biases(graph, reference, network, torch.from_numpy(np.concatenate(list(images.batches(sample)))))
    return reference, network


def _ratio(after: FloatArray, before: FloatArray) -> FloatArray:
    """What a channel was multiplied by; 1 where it has no range."""
    return np.divide(after, before, out=np.ones_like(after), where=before > 0)


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
    if method not in RANGES:
        return largest
    counts = histograms(reference, images.batches(images.fitting), largest)
    return {name: RANGES[method](counts[name], largest[name]) for name in largest}
