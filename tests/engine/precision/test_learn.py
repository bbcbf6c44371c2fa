"""Learned rounding."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from engine.precision.calibrate.images import CalibrationImages, find_images
from engine.precision.learn import learn
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.heads import squared_head_error
from engine.precision.qdq.placement import INT8, quantisable
from engine.precision.qdq.simulate import Simulation
from engine.runtime.letterbox import Letterbox
from tests.support import graphs

STEPS = 60


@pytest.fixture
def graph() -> Graph:
    """The tiny detector with true strides: learning looks for faces by them."""
    return Graph(graphs.tiny_detector(stem_stride=8), (96, 96))


@pytest.fixture
def images(photos: Path, tmp_path: Path) -> CalibrationImages:
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    found = find_images(tmp_path, 6, Letterbox((96, 96), graphs.CONFIG, enlarge=False))
    for index in found.held_out:  # it must do without them
        found.paths[index].unlink()
    return found


def _network(graph: Graph, images: CalibrationImages) -> Simulation:
    """Coarse enough to leave something to learn; one convolution stays in float."""
    assignment = {n: INT8 for n in quantisable(graph, INT8) if n != "lateral"}
    network = graphs.quantised(graph, assignment, images.batch(0))
    network.steps = {key: step * 4 for key, step in network.steps.items()}
    return network


def _difference(reference: Simulation, network: Simulation, images: CalibrationImages) -> float:
    with torch.no_grad():
        batches = [torch.from_numpy(batch) for batch in images.batches(images.fitting)]
        return sum(float(squared_head_error(graphs.CONFIG, reference.run(x), network.run(x))) for x in batches)


@pytest.mark.slow
def test_it_learns(graph: Graph, images: CalibrationImages) -> None:
    reference, network = Simulation(graph), _network(graph, images)
    before, start, scales = _difference(reference, network, images), dict(network.weights), dict(network.scales)
    exact = {name: weight.clone() for name, weight in reference.weights.items()}
    shown: list[tuple[int, int]] = []
    learn(graphs.CONFIG, reference, network, images, STEPS, lambda n, t: shown.append((n, t)))
    assert shown == [(i + 1, STEPS) for i in range(STEPS)]
    assert _difference(reference, network, images) < 0.9 * before
    for name in network.assignment:
        moved = (network.weights[name] - start[name]).abs() / network.steps[name, INT8]
        assert 0 < float(moved.max()) <= 1, name
    assert torch.equal(network.weights["lateral"], start["lateral"])
    assert set(network.scales) == set(scales)
    for point, scale in network.scales.items():
        assert torch.equal(scale, scale.half().float()), point
        assert float(scale) == pytest.approx(float(scales[point]), rel=0.05)
    for tensors in (network.weights, network.biases, network.scales):
        assert not any(tensor.requires_grad for tensor in tensors.values())
    assert all(torch.equal(reference.weights[name], weight) for name, weight in exact.items())
    assert all(torch.equal(network.exact[name], weight) for name, weight in exact.items())


def test_it_is_deterministic(graph: Graph, images: CalibrationImages) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # nobody else's randomness has a part in it
        network = _network(graph, images)
        learn(graphs.CONFIG, Simulation(graph), network, images, 5)
        found.append([*network.weights.values(), *network.biases.values(), *network.scales.values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
