"""Ranges, against brute force on the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.precision.calibrate import importance
from engine.precision.calibrate.importance import important_ranges
from engine.precision.calibrate.observe import channel_maxima, histograms
from engine.precision.calibrate.ranges import BINS, PERCENTILE, RANGES
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation
from tests.support import graphs

BIN = 1 / BINS


def _values(rng: np.random.Generator, shape: str) -> NDArray[np.float64]:
    count = 40_000
    values = {
        "normal": np.abs(rng.normal(0, 1, count)),
        "long tail": rng.exponential(1, count),
        "one outlier": np.append(rng.uniform(0, 1, count), 60.0),
        "even": rng.uniform(0, 3, count),
    }
    return values[shape]


def _histogram(values: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    maximum = float(values.max())
    return np.histogram(values, BINS, (0, maximum))[0].astype(np.float32), maximum


def _loss(values: NDArray[np.float64], top: float) -> float:
    step = top / 127
    return float(np.mean((np.minimum(np.rint(values / step), 127) * step - values) ** 2))


SHAPES = ["normal", "long tail", "one outlier", "even"]


@pytest.mark.parametrize("shape", SHAPES)
def test_percentile(rng: np.random.Generator, shape: str) -> None:
    values = _values(rng, shape)
    counts, maximum = _histogram(values)
    wanted = np.quantile(values, PERCENTILE / 100, method="inverted_cdf")
    assert wanted <= RANGES["percentile"](counts, maximum) + 1e-9 <= wanted + 1.01 * BIN * maximum


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_square_error(rng: np.random.Generator, shape: str) -> None:
    """No range is better, within the resolution of the histogram."""
    values = _values(rng, shape)
    counts, maximum = _histogram(values)
    given = RANGES["mse"](counts, maximum)
    best = min(_loss(values, top) for top in np.linspace(0.01, 1, 300) * maximum)
    assert 0 < given <= maximum
    # The width of a bin is a fraction of a step for the whole range, and several steps for a small range.
    assert _loss(values, given) <= 1.15 * best + (BIN * maximum) ** 2 / 12


def test_mean_square_error_clips_what_is_rare(rng: np.random.Generator) -> None:
    assert RANGES["mse"](*_histogram(_values(rng, "even"))) > 2.9
    assert RANGES["mse"](*_histogram(np.append(rng.normal(0, 1, 400_000), 40.0).clip(0))) < 25


@pytest.mark.parametrize("shape", SHAPES)
def test_entropy(rng: np.random.Generator, shape: str) -> None:
    """The range of the smallest divergence, by brute force, is near that of ONNX Runtime.

    The minimum is flat, and the two treat bins left over by the division into levels differently.
    """
    counts, maximum = _histogram(_values(rng, shape))
    given = RANGES["entropy"](counts, maximum)
    both = np.concatenate([counts[:0:-1] // 2, counts[:1], counts[1:] // 2]).astype(np.float64)
    middle = len(both) // 2
    halves = np.arange(64, middle + 1, 8)
    divergences = [_divergence(both, middle, int(half)) for half in halves]
    assert given == pytest.approx(halves[np.argmin(divergences)] / BINS * maximum, rel=0.15)
    assert given <= maximum


def _divergence(both: NDArray[np.float64], middle: int, half: int) -> float:
    inside = both[middle - half : middle + half + 1]
    clipped = inside.copy()
    clipped[0] += both[: middle - half].sum()
    clipped[-1] += both[middle + half + 1 :].sum()
    spread = np.zeros_like(inside)
    width = len(inside) // 128
    for level in range(128):
        part = slice(level * width, (level + 1) * width if level < 127 else len(inside))
        filled = clipped[part] > 0
        if filled.any():
            spread[part][filled] = inside[part].sum() / filled.sum()
    p, q = (x / x.sum() for x in (np.where(clipped == 0, 1e-4, clipped), np.where(spread == 0, 1e-4, spread)))
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("method", RANGES)
def test_a_tensor_of_zeros_gets_some_range(method: str) -> None:
    counts = np.zeros(BINS, np.float32)
    counts[0] = 1000
    assert 0 < RANGES[method](counts, 1e-3) <= 1e-3


def test_histograms_count_every_value_of_every_image(graph: Graph) -> None:
    batches = [graphs.images(1), graphs.images(2)]
    network = Simulation(graph)
    seen = [graphs.everything(network, batch) for batch in batches]
    values = np.abs(np.concatenate([s["middle"].ravel() for s in seen]))
    top = float(values.max())
    given = histograms(network, batches, {"middle": top})["middle"]
    assert given.sum() == values.size
    edges = np.histogram(values, BINS, (0, top))[0]
    assert np.abs(np.cumsum(given) - np.cumsum(edges)).max() <= 2  # values on an edge, by rounding


def test_maxima_are_those_of_every_image(graph: Graph) -> None:
    batches = [graphs.images(1), graphs.images(2), graphs.images(3)]
    network = Simulation(graph)
    given = channel_maxima(network, batches, ["images", "both"])
    wanted = [graphs.everything(network, batch) for batch in batches]
    assert set(given) == {"images", "both"}
    for name, maxima in given.items():
        every = np.concatenate([np.abs(w[name]) for w in wanted])
        np.testing.assert_array_equal(maxima, every.max(axis=(0, 2, 3)))


def test_the_best_share_of_weighted_values(rng: np.random.Generator) -> None:
    """Against brute force over values within each bin, weighted as the bin."""
    bins = 256
    centres = (np.arange(bins) + 0.5) / bins
    weights = np.stack([
        np.exp(-centres * 20), np.ones(bins), np.where(centres < 0.3, 1.0, 1e-7), np.exp(-((centres - 0.5) ** 2) * 50)
    ])  # fmt: skip
    given = importance._best_share(torch.from_numpy(weights).float()).numpy()
    shares = np.arange(1, 65) / 64
    inside = rng.uniform(-0.5 / bins, 0.5 / bins, (200, bins))  # where in its bin a value lies
    for row, share in zip(weights, given, strict=True):

        def loss(top: float, row: NDArray[np.float64] = row) -> float:
            x = centres + inside
            return float((row * (np.minimum(np.rint(x * 127 / top), 127) * top / 127 - x) ** 2).mean(axis=0).sum())

        assert loss(float(share)) <= 1.05 * min(loss(float(s)) for s in shares)
    assert importance._best_share(torch.zeros(2, bins)).tolist() == [1.0, 1.0]  # nothing depends on them


def test_important_ranges_of_uniform_gradients_minimise_the_mean_square(rng: np.random.Generator) -> None:
    """Each channel feeds one output only, so all gradients are equal and the ranges are those of "mse"."""
    b = graphs.Builder(rng)
    x = b.op("LeakyRelu", "act", b.conv("first", "images", 6), alpha=0.5)
    channels = {"logits": 4, "box_deltas": 8, "landmark_deltas": 20}
    heads = [b.conv(f"{kind}_{stride}", x, channels[kind], kernel=1) for stride in (8, 16, 32) for kind in channels]
    graph = Graph(b.model(*heads), graphs.SIZE)
    for head in heads:
        graph.weights[f"{head}_weight"][:] = 0
        if head.startswith("logits"):  # the same face everywhere
            graph.weights[f"{head}_bias"][:] = [-9, 9, -9, 9]
    graph.weights["box_deltas_8_weight"][:6, :, 0, 0] = np.eye(6)
    batches = [graphs.images(seed, scale=1 / 40) for seed in range(4)]
    network = Simulation(graph)
    tops = channel_maxima(network, batches, ["act"])
    given = important_ranges(graphs.CONFIG, network, batches, {"act": tops["act"]}, per_channel=True)["act"]
    values = np.abs(np.concatenate([graphs.everything(network, batch)["act"] for batch in batches])).swapaxes(0, 1)
    for channel, top, chosen in zip(values.reshape(6, -1).astype(np.float64), tops["act"], given, strict=True):
        losses = [_loss(channel, s * top) for s in np.arange(1, 65) / 64]
        assert _loss(channel, float(chosen)) <= 1.2 * min(losses)
    assert (given < 0.99 * tops["act"]).any()


def test_a_channel_that_never_fires_has_no_range(graph: Graph) -> None:
    """Nor importance: the factor of an empty range would overflow."""
    graph.weights["left_weight"][3], graph.weights["left_bias"][3] = 0, -100
    network, batches, name = Simulation(graph), [graphs.images(1)], "left_act"
    tops = channel_maxima(network, batches, [name])
    assert tops[name][3] == 0
    given = important_ranges(graphs.CONFIG, network, batches, tops, per_channel=True)[name]
    assert given[3] == 0
    assert (np.delete(given, 3) > 0).all()


def test_one_range_for_all_channels_minimises_their_common_error(graph: Graph) -> None:
    """A channel without effect on the heads does not determine the range of the others."""
    network, batches = Simulation(graph), [graphs.images(seed) for seed in range(2)]
    tops = channel_maxima(network, batches, ["both"])
    alone = important_ranges(graphs.CONFIG, network, batches, tops, per_channel=True)["both"]
    common = important_ranges(graphs.CONFIG, network, batches, tops, per_channel=False)["both"]
    assert len(set(common.tolist())) == 1
    assert common[0] <= tops["both"].max()
    assert len(set(alone.tolist())) > 1


def test_values_without_effect_on_faces_may_be_clipped(rng: np.random.Generator) -> None:
    """The largest values lie where the reference is certain that there is no face."""
    b = graphs.Builder(rng)
    x = b.op("Relu", "act", b.conv("first", "images", 3, kernel=1))
    channels = {"logits": 4, "box_deltas": 8, "landmark_deltas": 20}
    heads = [b.conv(f"{kind}_{stride}", x, channels[kind], kernel=1) for stride in (8, 16, 32) for kind in channels]
    graph = Graph(b.model(*heads), graphs.SIZE)
    graph.weights["first_weight"][:, :, 0, 0], graph.weights["first_bias"][:] = np.eye(3), 0
    for stride in (8, 16, 32):  # channel 0 above 2 means background
        graph.weights[f"logits_{stride}_weight"][:] = 0
        graph.weights[f"logits_{stride}_weight"][1::2, 0] = -40
        graph.weights[f"logits_{stride}_bias"][:] = [0, 80, 0, 80]
    batch = rng.uniform(0, 1, (1, 3, *graphs.SIZE)).astype(np.float32)
    batch[:, :, :16] *= 100
    batch[:, 0, :16] += 10
    tops = channel_maxima(Simulation(graph), [batch], ["act"])["act"]
    given = important_ranges(graphs.CONFIG, Simulation(graph), [batch], {"act": tops}, per_channel=True)["act"]
    assert (tops > 90).all()
    assert (given < 5).all()
