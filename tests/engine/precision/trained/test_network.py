"""A network in training: it begins as fitted, and what is written computes what was trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config.formats import FP8, INT8, NumberFormat
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, quantisable
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import write_quantised
from engine.precision.trained.network import TrainableNetwork
from tests.support import graphs


def _trainable(graph: Graph, network: Simulation, assignment: Assignment) -> TrainableNetwork:
    ranges = {name: torch.ones(len(weight)) for name, weight in network.weights.items()}
    return TrainableNetwork(graph, network, assignment, ranges)


def _all(graph: Graph, kind: NumberFormat) -> dict[str, NumberFormat]:
    return dict.fromkeys(quantisable(graph, kind), kind)


@pytest.mark.parametrize("kind", [INT8, FP8])
def test_it_begins_as_fitted(graph: Graph, kind: NumberFormat) -> None:
    batch = graphs.images(1)
    network = graphs.quantised(graph, _all(graph, kind), batch)
    wanted = graphs.simulate(network, batch)
    given = graphs.simulate(_trainable(graph, network, network.assignment), batch)
    assert given.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(given[name], value, err_msg=name)


@pytest.mark.parametrize("some", [False, True])
def test_what_is_written_is_what_was_trained(graph: Graph, rng: np.random.Generator, some: bool) -> None:
    batch = graphs.images(1)
    network = graphs.quantised(graph, _all(graph, INT8), batch)
    assignment = {n: kind for n, kind in network.assignment.items() if not some or n not in ("depthwise", "logits_8")}
    trained = _trainable(graph, network, assignment)
    with torch.no_grad():
        for changes, size in (
            (trained.weight_changes, 2.0),
            (trained.bias_changes, 0.3),
            (trained.scale_changes, 0.2),
        ):
            for change in changes.values():
                change += torch.from_numpy(rng.normal(0, size, change.shape)).float()
    before = graphs.simulate(network, batch)
    wanted = graphs.simulate(trained, batch)
    trained.write_to(network)
    assert network.assignment == assignment
    given = graphs.simulate(network, batch)
    executed = graphs.run(write_quantised(graph, network), batch)
    exact = graphs.simulate(Simulation(graph), batch)
    for name, value in wanted.items():
        np.testing.assert_array_equal(given[name], value, err_msg=name)
        assert not np.array_equal(before[name], value), name
        # Float16 moves values near ties by a whole step, here and there: less than quantisation itself moves them.
        assert graphs.relative_rms(executed[name], value) < 0.5 * graphs.relative_rms(value, exact[name]), name


def test_gradients_reach_everything_that_is_trained(graph: Graph) -> None:
    batch = graphs.images(1)
    trained = _trainable(graph, graphs.quantised(graph, _all(graph, INT8), batch), _all(graph, INT8))
    heads = trained.run(torch.from_numpy(batch))
    sum(head.square().sum() for head in heads.values()).backward()  # type: ignore[union-attr]
    for kind in (trained.weight_changes, trained.bias_changes, trained.scale_changes):
        for name, change in kind.items():
            assert change.grad is not None, name
            assert change.grad.abs().sum() > 0, name
