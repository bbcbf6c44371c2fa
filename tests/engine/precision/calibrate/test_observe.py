"""Networks whose values are not finite."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import CalibrationError
from engine.precision.calibrate.observe import channel_maxima
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation
from tests.support import graphs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_tensor_that_is_not_finite_is_named(graph: Graph, value: float) -> None:
    graph.weights["down_weight"][3, 2, 1, 1] = value
    with pytest.raises(CalibrationError, match=r"tensor down of the network is not finite \(NaN or infinity\)"):
        channel_maxima(Simulation(graph), [graphs.images(1)], ["images", "both", "coarse", "middle"])


def test_in_one_image_of_several(graph: Graph) -> None:
    broken = graphs.images(2)
    broken[0, 1, 5, 5] = np.nan
    with pytest.raises(CalibrationError, match=r"tensor images .* the weights are damaged"):
        channel_maxima(Simulation(graph), [graphs.images(1), broken], ["images", "both"])


def test_heads_are_checked_too(graph: Graph) -> None:
    """Heads are checked although they are not among the named tensors."""
    graph.weights["logits_8_bias"][0] = np.nan
    with pytest.raises(CalibrationError, match="tensor logits_8 of the network is not finite"):
        channel_maxima(Simulation(graph), [graphs.images(1)], ["both"])
