"""Share of each convolution in the heads' error."""

from __future__ import annotations

import pytest
import torch

from engine.config.formats import FP8, FP16, INT8
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.simulate import Simulation
from engine.precision.search.sensitivity import sensitivities
from tests.support import graphs


@pytest.mark.parametrize("bad", ["left", "merge"])
def test_a_bad_convolution_takes_nearly_all_of_the_error(graph: Graph, bad: str) -> None:
    batches = [graphs.images(seed, scale=1 / 10) for seed in range(2)]
    network = graphs.quantised(graph, dict.fromkeys(quantisable(graph, INT8), INT8), batches[0])
    network.steps[bad, INT8] = network.steps[bad, INT8] * 60
    network.steps[bad, FP8] = network.steps[bad, INT8] * 127 / 448
    assignment, fitted = dict(network.assignment), dict(network.fitted)
    weights = {name: weight.clone() for name, weight in network.weights.items()}
    steps = dict(network.steps)
    for point, scale in list(network.scales.items()):
        network.scales[point[0], FP8] = scale * 127 / 448
    shown: list[tuple[int, int]] = []
    found = sensitivities(
        graphs.CONFIG,
        network,
        Simulation(graph),
        batches,
        {FP16: {}, FP8: {bad: FP8}},
        lambda n, t: shown.append((n, t)),
    )
    assert set(found[FP16]) == set(assignment)
    assert set(found[FP8]) == {bad}  # no other convolution has that format
    assert found[FP16][bad] > 0.9
    assert all(abs(share) < 0.3 for name, share in found[FP16].items() if name != bad)
    assert found[FP8][bad] <= found[FP16][bad] + 1e-6
    assert shown == [(i + 1, len(assignment)) for i in range(len(assignment))]
    assert (dict(network.assignment), dict(network.fitted)) == (assignment, fitted)
    assert set(network.steps) == set(steps)
    assert all(torch.equal(network.weights[name], weight) for name, weight in weights.items())


def test_a_network_without_error() -> None:
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    reference = Simulation(graph)
    assert sensitivities(graphs.CONFIG, Simulation(graph), reference, [graphs.images(1)], {FP16: {}}) == {FP16: {}}
