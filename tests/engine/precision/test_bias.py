"""Bias correction."""

from __future__ import annotations

import numpy as np
import torch

from engine.precision.bias import correct_biases
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import INT8, quantisable
from engine.precision.qdq.simulate import Simulation
from tests.support import graphs


def test_channels_get_the_means_of_the_reference(graph: Graph) -> None:
    batch = np.concatenate([graphs.images(seed) for seed in range(3)])
    assignment = {n: INT8 for n in quantisable(graph, INT8) if n != "right"}
    network = graphs.quantised(graph, assignment, batch)
    network.steps = {key: step * 8 for key, step in network.steps.items()}  # coarse, so that means do shift
    reference = Simulation(graph)
    exact = {name: bias.clone() for name, bias in reference.biases.items()}
    wanted, before = graphs.everything(reference, batch), graphs.everything(network, batch)
    correct_biases(graph, reference, network, torch.from_numpy(batch))
    after = graphs.everything(network, batch)
    for name in assignment:
        means = [values[name].mean(axis=(0, 2, 3)) for values in (wanted, before, after)]
        size = np.abs(wanted[name]).mean()
        # Correcting moves what later layers quantise: in the same order as their values are computed again here.
        np.testing.assert_allclose(means[2], means[0], rtol=0, atol=1e-3 * size, err_msg=name)
        assert np.abs(means[1] - means[0]).max() > 0.005 * size, name
    assert torch.equal(network.biases["right"], exact["right"])  # it is not quantised
    for name, bias in exact.items():
        assert torch.equal(reference.biases[name], bias)
