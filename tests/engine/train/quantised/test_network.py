"""A quantised network as a module: what it computes, keeps and becomes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import CalibrationError
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation
from engine.precision.qdq.writer import write_quantised
from engine.precision.trained.stored import Key, is_trained, load_trained, save_trained
from engine.train.optimiser import make_optimiser, set_learning_rate
from engine.train.quantised.network import QuantisedNetwork
from engine.train.settings import TrainSettings
from tests.support import graphs
from tests.support.training.quantised import KEPT, calibrated

KEY = Key("abc", graphs.CONFIG, "int8")


def heads(network: QuantisedNetwork, seed: int = 5) -> list[torch.Tensor]:
    """Its heads for a batch."""
    with torch.no_grad():
        return list(network(torch.from_numpy(graphs.images(seed))))


@pytest.fixture
def trained() -> QuantisedNetwork:
    """A network after a few steps of the optimiser, which move all parameters."""
    network = QuantisedNetwork(graphs.CONFIG, calibrated())
    optimiser = make_optimiser(network, TrainSettings())
    set_learning_rate(optimiser, 0.2)
    for seed in range(3):
        loss = sum(head.square().mean() for head in network(torch.from_numpy(graphs.images(seed))))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(parameter.abs().sum() > 0 for parameter in network.parameters())
    return network


def test_it_begins_as_calibrated() -> None:
    start = calibrated()
    wanted = graphs.simulate(start.network, graphs.images(5))
    for name, head in zip(graphs.CONFIG.head_names(), heads(QuantisedNetwork(graphs.CONFIG, start)), strict=True):
        np.testing.assert_array_equal(head, wanted[name], err_msg=name)


def test_its_state_is_complete(trained: QuantisedNetwork) -> None:
    """Another calibration begins elsewhere; nothing of it is left."""
    other = QuantisedNetwork(graphs.CONFIG, calibrated(seed=9))
    assert not torch.equal(heads(other)[0], heads(trained)[0])
    other.load_state_dict(trained.state_dict())
    assert all(map(torch.equal, heads(other), heads(trained)))


def test_a_copy_and_a_moved_network_are_on_their_own(trained: QuantisedNetwork) -> None:
    """An average is a copy. `to` replaces tensors: those that are computed with must be the new ones."""
    before = heads(trained)
    with torch.no_grad():
        fresh = QuantisedNetwork(graphs.CONFIG, calibrated())
        other = copy.deepcopy(fresh)
        other.load_state_dict(trained.state_dict())
        assert not torch.equal(heads(fresh)[0], before[0])
        assert all(map(torch.equal, heads(other), before))
        double = other.double()
        assert all(head.dtype == torch.float64 for head in double(torch.from_numpy(graphs.images(5)).double()))


def test_scales_learn_at_a_share_of_the_rate() -> None:
    network = QuantisedNetwork(graphs.CONFIG, calibrated())
    optimiser = make_optimiser(network, TrainSettings())
    set_learning_rate(optimiser, 0.5)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    expected = {id(p): 0.05 if name.startswith("scale/") else 0.5 for name, p in network.named_parameters()}
    assert rates == expected
    assert set(rates.values()) == {0.05, 0.5}


def test_what_is_stored_and_written_is_what_was_trained(trained: QuantisedNetwork, tmp_path: Path) -> None:
    path = tmp_path / "int8.npz"
    save_trained(path, KEY, trained.graph, trained.as_trained(), trained.kept)
    assert is_trained(path)
    fresh = Graph(graphs.tiny_detector(seed=3), graphs.SIZE)  # other weights
    network, kept = load_trained(path, KEY, fresh)
    assert kept == list(KEPT)
    assert "pointwise" not in network.assignment

    batch = graphs.images(5)
    given, executed = graphs.simulate(network, batch), graphs.run(write_quantised(fresh, network), batch)
    exact = graphs.simulate(Simulation(fresh), batch)  # with the stored weights, not quantised
    for name, head in zip(graphs.CONFIG.head_names(), heads(trained), strict=True):
        np.testing.assert_array_equal(given[name], head.numpy(), err_msg=name)
        # Float16 moves values near ties by a whole step, here and there: less than quantisation itself moves them.
        error = graphs.relative_rms(executed[name], head.numpy())
        assert error < 0.5 * graphs.relative_rms(head.numpy(), exact[name]), name


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (replace(KEY, weights="xyz"), "was trained for other weights than this build's: give --weights, --config"),
        (replace(KEY, config=replace(graphs.CONFIG, name="b"), precision="fp8"), "for other config and precision"),
    ],
)
def test_a_network_of_another_run_is_refused(
    key: Key, expected: str, trained: QuantisedNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "int8.npz"
    save_trained(path, KEY, trained.graph, trained.as_trained(), trained.kept)
    with pytest.raises(CalibrationError, match=expected):
        load_trained(path, key, trained.graph)
