"""Fake quantisation and the simulation, against NumPy, ml_dtypes and ONNX Runtime."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch

from engine.config.formats import BF16, FP8, INT8, NumberFormat
from engine.errors import BuildError
from engine.precision.qdq.graph import Graph, with_weights
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation, fake_quantise, to_grid, to_half
from engine.types import FloatArray
from tests.support import graphs


def _grid(y: FloatArray, kind: NumberFormat) -> FloatArray:
    if kind == INT8:
        return np.clip(np.rint(y), -128, 127).astype(np.float32)
    if kind == BF16:
        return y.astype(ml_dtypes.bfloat16).astype(np.float32)
    return np.clip(y, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)


@pytest.mark.parametrize("kind", [INT8, FP8, BF16])
def test_the_grid(rng: np.random.Generator, kind: NumberFormat) -> None:
    ties = np.arange(-300, 300, dtype=np.float32) / 2
    exponents = rng.uniform(-12, 10, 4000)
    y = np.concatenate([ties, rng.choice([-1, 1], 4000) * 2.0**exponents, [0.0, 1e6, -1e6, 448.0, 464.0]])
    y = y.astype(np.float32)
    np.testing.assert_array_equal(to_grid(torch.from_numpy(y), kind).numpy(), _grid(y, kind))


@pytest.mark.parametrize("kind", [INT8, FP8])
@pytest.mark.parametrize("scale", [2.0**-6, 0.0371])
def test_fake_quantisation(rng: np.random.Generator, kind: NumberFormat, scale: float) -> None:
    x = (rng.normal(0, 200, 5000) * scale).astype(np.float32)
    given = fake_quantise(torch.from_numpy(x), torch.tensor(scale), kind).numpy()
    step = np.float32(scale)
    np.testing.assert_array_equal(given, _grid(x / step, kind) * step)


def test_scales_of_channels_are_their_own(rng: np.random.Generator) -> None:
    weight = rng.normal(size=(3, 2, 3, 3)).astype(np.float32)
    steps = np.array([0.01, 0.5, 3.0], np.float32).reshape(3, 1, 1, 1)
    given = fake_quantise(torch.from_numpy(weight), torch.from_numpy(steps), INT8).numpy()
    np.testing.assert_allclose(given, np.clip(np.rint(weight / steps), -128, 127) * steps, rtol=1e-6, atol=1e-6)


def test_scales_are_normal_float16_numbers() -> None:
    given = torch.tensor([1e-12, 0.1, 3.0003])
    wanted = [2.0**-14, float(np.float16(0.1)), float(np.float16(3.0003))]
    assert to_half(given).tolist() == wanted


def test_without_an_assignment_it_is_the_float_network(graph: Graph) -> None:
    batch = graphs.images(5, 2)
    names = tuple(node.output[0] for node in graph.nodes if node.output[0] not in graph.outputs)
    wanted = graphs.run(graph.model, batch, extra=names)
    given = graphs.everything(Simulation(graph), batch)
    assert set(given) == {"images", *wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(given[name], value, rtol=1e-4, atol=1e-4 * np.abs(value).max(), err_msg=name)


def test_deformable_and_strided_convolutions(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    x = b.op("Relu", "act", b.conv("first", "images", 8, stride=2))
    model = prepare(b.model(b.conv("out", b.deform_conv("deformable", x, 6), 4, kernel=1, groups=2)))
    batch = graphs.images(6, scale=1 / 40)
    given, wanted = (
        graphs.simulate(Simulation(Graph(model, graphs.SIZE)), batch)["out"],
        graphs.run(model, batch)["out"],
    )
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", [INT8, FP8])
def test_one_quantised_convolution_by_hand(rng: np.random.Generator, kind: NumberFormat) -> None:
    """A 1 x 1 convolution is a matrix product: NumPy computes it in float64."""
    b = graphs.Builder(rng)
    graph = Graph(b.model(b.conv("out", "images", 16, kernel=1)), graphs.SIZE)
    batch = graphs.images(7)
    network = graphs.quantised(graph, {"out": kind}, batch)
    scale = float(np.float16(np.abs(batch).max() / (127 if kind == INT8 else 448)))
    weight = graph.weights["out_weight"][:, :, 0, 0]
    steps = (np.abs(weight).max(axis=1) / (127 if kind == INT8 else 448)).astype(np.float16).astype(np.float32)
    x = _grid(batch[0] / np.float32(scale), kind).astype(np.float64) * scale
    w = _grid(weight / steps[:, None], kind).astype(np.float64) * steps[:, None]
    wanted = np.einsum("oi,ihw->ohw", w, x) + graph.weights["out_bias"][:, None, None]
    np.testing.assert_allclose(graphs.simulate(network, batch)["out"][0], wanted, rtol=1e-4, atol=1e-4)


def test_a_sum_reads_the_quantised_shortcut(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    block = b.op("Relu", "block", b.conv("first", "images", 8))
    graph = Graph(b.model(b.op("Add", "sum", b.conv("second", block, 8), block)), graphs.SIZE)
    batch = graphs.images(8)
    seen = graphs.everything(graphs.quantised(graph, {"second": INT8}, batch), batch)
    scale = np.float32(np.float16(seen["block"].max() / 127))
    wanted = seen["second"] + np.clip(np.rint(seen["block"] / scale), -128, 127) * scale
    np.testing.assert_allclose(seen["sum"], wanted, rtol=1e-5, atol=1e-4)
    assert np.abs(seen["sum"] - seen["second"] - seen["block"]).max() > 0.1 * scale  # the shortcut is not the float one


def test_weights_fitted_for_another_format_are_not_used(graph: Graph) -> None:
    network = graphs.quantised(graph, {"pointwise": INT8}, graphs.images(9))
    network.weights["pointwise"] = network.weights["pointwise"] + 1
    assert torch.equal(network.weight("pointwise"), network.weights["pointwise"])
    for other in ({}, {"pointwise": FP8}):
        network.assignment = other
        assert torch.equal(network.weight("pointwise"), network.exact["pointwise"])


def test_other_operators_are_refused(rng: np.random.Generator) -> None:
    b = graphs.Builder(rng)
    model = b.model(b.op("Sigmoid", "out", b.conv("first", "images", 4)))
    with pytest.raises(BuildError, match=r"operator Sigmoid \(out\) cannot be quantised by this version: use fp16"):
        graphs.simulate(Simulation(Graph(model, graphs.SIZE)), graphs.images(0))


def test_weights_of_a_model_can_be_replaced(graph: Graph) -> None:
    replaced = with_weights(graph.model, {"stem_bias": np.zeros(16, np.float32)})
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in replaced.graph.initializer}
    assert not arrays["stem_bias"].any()
    np.testing.assert_array_equal(arrays["down_bias"], graph.weights["down_bias"])
    assert graph.weights["stem_bias"].any()
