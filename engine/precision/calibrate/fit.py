"""Fitting of a quantised network to its calibration images: equalisation, ranges, rounding of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from engine.config.model import RetinaFaceConfig
from engine.precision.calibrate.equalise import equalise
from engine.precision.calibrate.images import CalibrationImages
from engine.precision.calibrate.importance import important_ranges
from engine.precision.calibrate.observe import channel_maxima, histograms
from engine.precision.calibrate.ranges import RANGES
from engine.precision.calibrate.rounding import round_weights
from engine.precision.options import Techniques
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, scale_groups
from engine.precision.qdq.simulate import Simulation, to_half
from engine.types import FloatArray

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
    """Fit scales and weights.

    Args:
        config: of the model.
        graph: rescaled in place if equalisation is on.
        assignments: scales are fitted for all; weights are rounded for the first one.
        images: only those for fitting are read.
        techniques: that are on.
        on_stage: called with a text as each stage begins.

    Returns:
        The equalised network in floating point, and quantised as in the first assignment.

    Raises:
        CalibrationError: a value of the network is not finite, or an image can no longer be read.
    """
    wanted = list(dict.fromkeys(point for assignment in assignments for point in points(graph, assignment)))
    names = list(dict.fromkeys(name for name, _ in wanted))
    on_stage(f"Calibrating with {len(images.fitting)} images")
    fitting = images.fitting
    # Gradients of a large network take long, and fewer images are enough: each has many more values.
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
    # Clipping makes integers finer near zero. Floating-point numbers are fine there anyway, so they are not clipped.
    of_group = {
        kind: _ranges(graph, reference, images, ranges, techniques.method)
        if kind.is_integer
        else _ranges(graph, reference, images, maxima, "max")
        for kind in dict.fromkeys(kind for _, kind in wanted)
    }
    groups = scale_groups(graph)
    for name, kind in wanted:
        leader = groups.get(name, name)
        network.scales[leader, kind] = to_half(torch.tensor(of_group[kind][leader] / kind.largest))
    for assignment in assignments:
        for name, kind in assignment.items():
            largest = network.weights[name].abs().amax(dim=(1, 2, 3), keepdim=True)
            network.steps[name, kind] = to_half(largest / kind.largest)
    network.assignment = network.fitted = assignments[0]
    if techniques.round_weights:
        on_stage("Rounding weights")
        round_weights(config, graph, reference, network, images.batches(with_gradients))
    return reference, network


def _ratio(after: FloatArray, before: FloatArray) -> FloatArray:
    """Return the factor of each channel; 1 for a channel without range."""
    return np.divide(after, before, out=np.ones_like(after), where=before > 0)


def _ranges(
    graph: Graph, reference: Simulation, images: CalibrationImages, maxima: dict[str, FloatArray], method: str
) -> dict[str, float]:
    """Return the range of each scale group, by the name of its leader."""
    groups = scale_groups(graph)
    largest: dict[str, float] = {}
    for name, channels in maxima.items():
        leader = groups.get(name, name)
        # A tensor of zeros needs a scale, too.
        largest[leader] = max(largest.get(leader, 1e-3), float(channels.max()))
    if method not in RANGES:
        return largest
    counts = histograms(reference, images.batches(images.fitting), largest)
    return {name: RANGES[method](counts[name], largest[name]) for name in largest}
