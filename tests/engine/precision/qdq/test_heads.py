"""Differences of heads, computed by hand, and their gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config.heads import ValueHead
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.heads import deltas_of, face_weights, margins, run_with_gradients, squared_head_error
from engine.precision.qdq.simulate import Simulation
from tests.support import graphs
from tests.support.graphs import CONFIG


def _heads() -> dict[str, Tensor]:
    """One cell per level, two anchors. A logit margin of 30 is certainly a face, -30 certainly not."""
    heads = {}
    for level in CONFIG.levels:
        heads[f"logits_{level.stride}"] = torch.tensor([15.0, -15, 15, -15]).reshape(1, 4, 1, 1)
        heads[f"box_deltas_{level.stride}"] = torch.zeros(1, 8, 1, 1)
        heads[f"landmark_deltas_{level.stride}"] = torch.zeros(1, 20, 1, 1)
    heads["logits_16"] = torch.tensor([15.0, -15, -15, 15]).reshape(1, 4, 1, 1)  # the second anchor is a face
    return heads


def _moved(name: str, index: int, amount: float) -> dict[str, Tensor]:
    heads = {n: v.clone() for n, v in _heads().items()}
    heads[name][0, index] += amount
    return heads


def test_points_of_values_weigh_as_landmarks_do() -> None:
    config = replace(CONFIG, values=(ValueHead("age_8", 2), ValueHead("chin", 4, "points")))
    wanted = [("box_deltas_8", 1.0), ("landmark_deltas_8", 0.15), ("age_8_8", 1.0), ("chin_8", 0.15)]
    assert deltas_of(config, 8) == wanted
    assert deltas_of(CONFIG, 8) == wanted[:2]


def test_the_probability_of_a_face() -> None:
    given = face_weights(CONFIG, torch.tensor([1.0, 3.0, 0.0, -1.0]).reshape(1, 4, 1, 1))
    assert given.flatten().tolist() == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))])


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_probability_of_a_face_of_any_class(classes: int) -> None:
    """With softmax what the background leaves, with the bits of a difference for one class; else the best class's."""
    generator = torch.Generator().manual_seed(classes)
    softmax = replace(CONFIG, classes=tuple(f"c{i}" for i in range(classes)))
    logits = torch.randn(2, 3, 1 + classes, 4, 5, generator=generator) * 9
    given = face_weights(softmax, logits.flatten(1, 2))
    torch.testing.assert_close(given.double(), 1 - logits.double().softmax(2)[:, :, 0], atol=1e-6, rtol=0)
    if classes == 1:
        assert torch.equal(margins(softmax, logits.flatten(1, 2)), logits[:, :, 1] - logits[:, :, 0])
    sigmoid = replace(softmax, class_coding="sigmoid")
    own = logits[:, :, 1:]
    torch.testing.assert_close(face_weights(sigmoid, own.flatten(1, 2)), torch.sigmoid(own).amax(2))


@pytest.mark.parametrize(
    ("name", "index", "wanted"),
    [
        ("box_deltas_16", 4, 2.0**2 / 4),  # the face's box: mean over its four numbers
        ("box_deltas_16", 3, 0.0),  # the other anchor's
        ("box_deltas_8", 4, 0.0),  # there is no face on that level
        ("landmark_deltas_16", 10, 0.15 * 2.0**2 / 10),
        ("landmark_deltas_16", 9, 0.0),
        ("logits_16", 3, 0.25 * 2.0**2),
        ("logits_16", 2, 0.25 * 2.0**2),
        ("logits_16", 0, 0.0),
    ],
)
def test_squared_error(name: str, index: int, wanted: float) -> None:
    assert float(squared_head_error(CONFIG, _heads(), _moved(name, index, 2.0))) == pytest.approx(wanted, abs=1e-6)


def test_equal_heads_do_not_differ() -> None:
    assert float(squared_head_error(CONFIG, _heads(), _heads())) == 0.0
    both = _moved("logits_16", 2, 7.0)
    both["logits_16"][0, 3] += 7.0  # the margin stays
    assert float(squared_head_error(CONFIG, _heads(), both)) == pytest.approx(0.0, abs=1e-6)


def test_gradients_are_those_of_finite_differences(graph: Graph) -> None:
    """Signs are random, so the mean of squared gradients is compared, over many draws."""
    batch = graphs.images(1, scale=1 / 10)
    network = Simulation(graph)
    total = np.zeros(())
    draws = 300
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        values = run_with_gradients(CONFIG, network, torch.from_numpy(batch.copy()), generator)
        gradient = values["both"].grad
        assert gradient is not None
        total = total + gradient[0, 3, 2, 4].numpy().astype(np.float64) ** 2
    heads, moved = (_heads_from(graph, network, batch, amount) for amount in (0.0, 1e-2))
    wanted = 0.0
    for level in CONFIG.levels:
        face = face_weights(CONFIG, heads[f"logits_{level.stride}"]).double()
        for kind, share, size in (("box_deltas", 1.0 / 4, 4), ("landmark_deltas", 0.15 / 10, 10)):
            name = f"{kind}_{level.stride}"
            slope = (moved[name] - heads[name]).double() / 1e-2
            wanted += share * float((face[:, :, None] * slope.reshape(1, 2, size, *slope.shape[2:]) ** 2).sum())
        name = f"logits_{level.stride}"
        slope = ((moved[name] - heads[name]).double() / 1e-2).reshape(1, 2, 2, *face.shape[2:])
        wanted += 0.25 * float((face * (slope[:, :, 1] - slope[:, :, 0]) ** 2).sum())
    assert wanted > 0
    # The standard deviation of a squared Gaussian is 1.4 times its mean: 8 % of the mean over these draws.
    assert total / draws == pytest.approx(wanted, rel=0.35)


def _heads_from(graph: Graph, network: Simulation, batch: np.ndarray, amount: float) -> dict[str, Tensor]:
    """The heads after a change of one value of a concatenation."""

    def move(name: str, value: Tensor) -> None:
        if name == "both":
            value[0, 3, 2, 4] += amount

    with torch.no_grad():
        return network.run(torch.from_numpy(batch), move)
