"""Rounding of weights with compensation of errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config.formats import BF16, FP8, INT8, NumberFormat
from engine.precision.calibrate import rounding
from engine.precision.calibrate.rounding import _round, round_weights
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.heads import run_with_gradients
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.simulate import to_grid
from tests.support import graphs

KINDS = [INT8, FP8]


def _case(rng: np.random.Generator, kind: NumberFormat) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [groups, outputs, columns] and large scales, so that rounding is coarse."""
    weight = torch.from_numpy(rng.normal(0, 1, (2, 5, 18)).astype(np.float32))
    if kind == BF16:
        return weight, torch.ones(2, 5)
    steps = torch.from_numpy(rng.uniform(0.1, 0.4, (2, 5)).astype(np.float32)) * (1 if kind == INT8 else 0.5)
    return weight, steps


@pytest.mark.parametrize("kind", [*KINDS, BF16])
def test_without_correlation_it_is_nearest_rounding(rng: np.random.Generator, kind: NumberFormat) -> None:
    weight, steps = _case(rng, kind)
    nearest = to_grid(weight / steps[:, :, None], kind) * steps[:, :, None]
    correlation = torch.diag_embed(torch.from_numpy(rng.uniform(0.5, 5, (2, 18)).astype(np.float32)))
    torch.testing.assert_close(_round(weight, steps, correlation, kind), nearest, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [*KINDS, BF16])
def test_errors_cancel_where_inputs_correlate(rng: np.random.Generator, kind: NumberFormat) -> None:
    weight, steps = _case(rng, kind)
    common = rng.normal(size=(2, 3, 4000))
    inputs = np.einsum("gkc,gcn->gkn", rng.normal(size=(2, 18, 3)), common) + 0.2 * rng.normal(size=(2, 18, 4000))
    x = torch.from_numpy(inputs.astype(np.float32))
    rounded = _round(weight, steps, x @ x.transpose(1, 2), kind)
    nearest = to_grid(weight / steps[:, :, None], kind) * steps[:, :, None]
    assert torch.equal(to_grid(rounded / steps[:, :, None], kind) * steps[:, :, None], rounded)
    error, plain = (float((((w - weight) @ x) ** 2).mean()) for w in (rounded, nearest))
    assert error < 0.5 * plain
    for group in range(2):  # each group by its own inputs
        assert float((((rounded - weight)[group] @ x[group]) ** 2).mean()) < float(
            (((nearest - weight)[group] @ x[group]) ** 2).mean()
        )


def test_inputs_that_are_always_zero(rng: np.random.Generator) -> None:
    weight, steps = _case(rng, INT8)
    nearest = to_grid(weight / steps[:, :, None], INT8) * steps[:, :, None]
    given = _round(weight, steps, torch.zeros(2, 18, 18), INT8)
    assert torch.equal(given, nearest)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_ends_on_its_grid_and_computes_better(graph: Graph, kind: NumberFormat) -> None:
    """With weights of about 4 bits the difference is clear."""
    batches = [graphs.images(seed) for seed in range(6)]
    assignment = dict.fromkeys(quantisable(graph, kind), kind)
    network, nearest, reference = (graphs.quantised(graph, assignment, batches[0]) for _ in range(3))
    for simulation in (network, nearest):
        simulation.steps = (
            {key: step * 16 for key, step in simulation.steps.items()} if kind == INT8 else simulation.steps
        )
    reference.assignment = reference.fitted = {}
    exact = {name: weight.clone() for name, weight in network.exact.items()}
    round_weights(graphs.CONFIG, graph, reference, network, iter(batches))
    nodes = {node.name: node for node in graph.nodes}
    for name in assignment:
        assert torch.equal(network.exact[name], exact[name])
        grid = network.weights[name] / network.steps[name, kind]
        torch.testing.assert_close(to_grid(grid, kind), grid, rtol=0, atol=1e-4)
    errors = []
    for simulation in (network, nearest):
        total = 0.0
        for batch in batches:
            seen = graphs.everything(reference, batch)
            for name in ("stem", "left", "merge", "pointwise"):
                if name in assignment:
                    x = torch.from_numpy(seen[graph.convolutions[name].data])
                    given = simulation.convolve(nodes[name], x)
                    wanted = torch.from_numpy(seen[name])
                    total += float(((given - wanted) ** 2).mean() / (wanted**2).mean())
        errors.append(total)
    assert errors[0] < 0.8 * errors[1]
    assert torch.equal(reference.weights["left"], exact["left"])


def test_too_many_columns_are_rounded_in_shares(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Each share is rounded by its own inputs, with the scales of its outputs."""
    monkeypatch.setattr(rounding, "_MAX_COLUMNS", 33)  # 144 columns do not divide by 5: 6 shares
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    network, reference = (
        graphs.quantised(graph, dict.fromkeys(quantisable(graph, INT8), INT8), graphs.images(0)) for _ in range(2)
    )
    reference.assignment = reference.fitted = {}
    exact = network.weights["left"].clone()
    round_weights(graphs.CONFIG, graph, reference, network, [graphs.images(0)])
    shares = [network.weights["left"].reshape(16, 6, 24)[:, i] for i in range(6)]
    node = next(node for node in graph.nodes if node.name == "left")
    batch = torch.from_numpy(graphs.images(0))
    values = run_with_gradients(graphs.CONFIG, reference, batch, torch.Generator().manual_seed(0))
    monkeypatch.setattr(rounding, "_MAX_COLUMNS", 1000)
    with torch.no_grad():
        gradient = values["left"].grad
        assert gradient is not None
        whole = rounding._correlation(node, graph.convolutions["left"], values["pooled"], gradient)
    assert whole.shape == (1, 144, 144)
    steps = network.steps["left", INT8].reshape(1, -1)
    for i, share in enumerate(shares):
        part = slice(24 * i, 24 * i + 24)
        alone = _round(exact.reshape(1, 16, 144)[:, :, part], steps, whole[:, part, part], INT8)
        torch.testing.assert_close(share, alone[0], rtol=1e-5, atol=1e-6)


def test_shares_of_grouped_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of groups have scales of their own. In shares of one column there is no compensation."""
    monkeypatch.setattr(rounding, "_MAX_COLUMNS", 1)
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    network, reference = (graphs.quantised(graph, {"depthwise": INT8}, graphs.images(0)) for _ in range(2))
    reference.assignment = reference.fitted = {}
    exact, steps = network.weights["depthwise"].clone(), network.steps["depthwise", INT8]
    assert steps.max() > 3 * steps.min()
    round_weights(graphs.CONFIG, graph, reference, network, [graphs.images(0)])
    torch.testing.assert_close(network.weights["depthwise"], to_grid(exact / steps, INT8) * steps, rtol=1e-6, atol=0)
