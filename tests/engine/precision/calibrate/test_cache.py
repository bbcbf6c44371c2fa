"""The calibration cache returns equal arrays, or is refused with the reason."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.config.formats import FP8, INT8
from engine.errors import CalibrationError
from engine.precision.calibrate.cache import load_fit, save_fit
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import points, quantisable, scale_groups
from engine.precision.qdq.simulate import Simulation
from tests.support import graphs

ASSIGNMENTS = (dict.fromkeys(quantisable(Graph(graphs.tiny_detector(), graphs.SIZE), INT8), INT8), {"left": FP8})
KEY = {"weights": "abc", "config": {"levels": (1, 2)}, "method": "importance", "images": ["a" * 64] * 3}


@pytest.fixture
def network(graph: Graph) -> Simulation:
    """A network in which all arrays differ from those of the graph."""
    fitted = graphs.quantised(graph, ASSIGNMENTS[0], graphs.images(1))
    fitted.weights = {n: w * 1.01 for n, w in fitted.weights.items()}
    fitted.biases = {n: b + 0.1 for n, b in fitted.biases.items()}
    fitted.steps["left", FP8] = torch.full((16, 1, 1, 1), 0.25)
    groups = scale_groups(graph)
    for name, kind in points(graph, ASSIGNMENTS[1]):
        fitted.scales[groups.get(name, name), kind] = torch.tensor(0.5)
    return fitted


@pytest.fixture
def cache(tmp_path: Path, graph: Graph, network: Simulation) -> Path:
    path = tmp_path / "fit.npz"
    save_fit(path, KEY, graph, network)
    return path


def _fresh() -> Graph:
    """A graph with other weights than those in the cache."""
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    graph.weights = {name: values * 3 for name, values in graph.weights.items()}
    return graph


def test_a_round_trip(cache: Path, graph: Graph, network: Simulation) -> None:
    fresh = _fresh()
    reference, given = load_fit(cache, dict(reversed(KEY.items())), fresh, ASSIGNMENTS)
    for convolution in graph.convolutions.values():
        for name in (convolution.weight, convolution.bias):
            np.testing.assert_array_equal(fresh.weights[name], graph.weights[name])
        name = convolution.name
        assert torch.equal(reference.weights[name], torch.tensor(graph.weights[convolution.weight]))
        assert torch.equal(given.exact[name], reference.weights[name])
        assert torch.equal(given.weights[name], network.weights[name])
        assert torch.equal(given.biases[name], network.biases[name])
    for there, here in ((network.steps, given.steps), (network.scales, given.scales)):
        assert set(here) == set(there)
        assert all(torch.equal(here[key], there[key]) and here[key].shape == there[key].shape for key in there)
    assert given.assignment == given.fitted == network.assignment
    for name, head in graphs.simulate(network, graphs.images(2)).items():
        np.testing.assert_array_equal(graphs.simulate(given, graphs.images(2))[name], head)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "xyz"}, r"made from other weights \(weights is abc, this build has xyz\)"),
        ({"config": {"levels": (1, 3)}}, "made from other config "),
        ({"images": ["b" * 64]}, r"made from other images \(images is \['a+\.\.\., this build has \['b+\.\.\.\)"),
        ({"method": "max", "weights": "xyz"}, "made from other method, weights "),
        ({"more": 1}, r"made from other more \(more is None, this build has 1\)"),
    ],
)
def test_another_key_is_refused(cache: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        load_fit(cache, {**KEY, **changes}, _fresh(), ASSIGNMENTS)
    assert str(cache) in str(caught.value)
    assert "remove the file to calibrate again" in str(caught.value)


def test_a_technique_that_a_version_does_not_have_is_off(cache: Path, graph: Graph, network: Simulation) -> None:
    """A cache from before a technique was removed is reused if the technique was off, and refused if it was on."""
    save_fit(cache, {**KEY, "correct_biases": False}, graph, network)
    load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
    save_fit(cache, KEY, graph, network)
    load_fit(cache, {**KEY, "later_technique": False}, _fresh(), ASSIGNMENTS)
    save_fit(cache, {**KEY, "correct_biases": True}, graph, network)
    with pytest.raises(
        CalibrationError, match=r"made from other correct_biases \(correct_biases is True, this build has"
    ):
        load_fit(cache, KEY, _fresh(), ASSIGNMENTS)


def _npy() -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


GARBAGE = {
    "empty": b"",
    "text": b"not a cache",
    "TensorRT's table": b"TRT-8601-EntropyCalibration2\nimages: 3c010a14\nlogits_8: 3d2a9b1c\n",
    "zip signature": b"PK\x03\x04 and then nothing",
    "one array": _npy(),
    "no key": _npz(x=np.zeros(3)),
    "key is no text": _npz(key=np.zeros(3)),
    "key is no object": _npz(key=np.array("[1, 2]")),
    "pickle": pickle.dumps({"key": 1}),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fit.npz"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"fit\.npz is not a calibration cache of this program") as refusal:
        load_fit(path, KEY, _fresh(), ASSIGNMENTS)
    assert "allow_pickle" not in str(refusal.value)  # NumPy's advice, which nobody should follow


def test_truncated_files_are_refused(cache: Path) -> None:
    content = cache.read_bytes()
    for length in (1, 10, 100, len(content) // 2, len(content) - 1):
        cache.write_bytes(content[:length])
        with pytest.raises(CalibrationError, match="is not a calibration cache"):
            load_fit(cache, KEY, _fresh(), ASSIGNMENTS)


def test_damaged_files_are_refused(cache: Path, rng: np.random.Generator) -> None:
    """A few bytes of a zip file are not read: files damaged there load as before."""
    content = cache.read_bytes()
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        begin = int(rng.integers(len(content) - 8))
        damaged[begin : begin + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
        cache.write_bytes(damaged)
        try:
            load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
        except CalibrationError:
            refused += 1
    assert refused >= 30


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file."""
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def test_nothing_is_unpickled(tmp_path: Path, cache: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = np.array([Trap(sprung)], dtype=object)
    pickle.loads(pickle.dumps(trap))
    assert sprung.exists()  # the trap works
    sprung.unlink()
    with np.load(cache) as stored:
        arrays = dict(stored)
    for changed in ({"key": trap}, {**arrays, "weight/stem": trap}, {**arrays, "another": trap}):
        cache.write_bytes(_npz(**changed))
        with pytest.raises(CalibrationError, match="is not a calibration cache"):
            load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
    cache.write_bytes(pickle.dumps(trap))
    with pytest.raises(CalibrationError, match="is not a calibration cache"):
        load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["weight/down", "step/fp8/left", "scale/int8/images"])
def test_incomplete_files_are_refused(cache: Path, name: str) -> None:
    with np.load(cache) as stored:
        arrays = dict(stored)
    del arrays[name]
    cache.write_bytes(_npz(**arrays))
    with pytest.raises(CalibrationError, match=f"is incomplete, it lacks '{name}': remove the file"):
        load_fit(cache, KEY, _fresh(), ASSIGNMENTS)


SCALE, STEP, WEIGHT, BIAS = "scale/int8/images", "step/int8/down", "weight/down", "bias/down"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (WEIGHT, lambda a: a[:1], r"has dtype float32 and shape \(1, .*, expected float32 and \(16, "),
        ("exact/down", lambda a: a.swapaxes(0, 1), "has dtype float32 and shape "),
        (BIAS, lambda a: a[None], "has dtype float32 and shape "),
        ("exact_bias/down", lambda a: np.float32(1), r"has dtype float32 and shape \(\)"),
        (WEIGHT, lambda a: a.astype(np.float64), "has dtype float64 and shape "),
        (WEIGHT, lambda a: a.astype(">f4"), "has dtype >f4 and shape "),
        (WEIGHT, lambda a: a.astype(str), "has dtype <U32 and shape "),
        (WEIGHT, lambda a: np.full_like(a, np.nan), "holds NaN or infinity, expected finite numbers"),
        (BIAS, lambda a: np.full_like(a, -np.inf), "holds NaN or infinity, expected finite numbers"),
        (BIAS, lambda a: np.full_like(a, 1e38), "holds numbers that float16 has not, expected at most 65504"),
        (STEP, lambda a: a[:, 0], "has dtype float32 and shape "),
        (STEP, lambda a: a * 0, "holds numbers that are not above 0, expected scales"),
        (STEP, lambda a: -a, "holds numbers that are not above 0, expected scales"),
        (SCALE, lambda a: a[None], r"has dtype float32 and shape \(1,\), expected float32 and \(\)"),
        (SCALE, lambda a: a * 0, "holds numbers that are not above 0, expected scales"),
        (SCALE, lambda a: a * np.float32("inf"), "holds NaN or infinity, expected finite numbers"),
    ],
)
def test_arrays_that_are_not_the_network_s_are_refused(cache: Path, name: str, change: Any, message: str) -> None:
    """The file is whole: another program may have written it."""
    with np.load(cache) as stored:
        arrays = dict(stored)
    cache.write_bytes(_npz(**{**arrays, name: change(arrays[name])}))
    with pytest.raises(CalibrationError, match=rf"fit.npz does not fit the network: {name} {message}") as caught:
        load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
    assert "remove the file to calibrate again" in str(caught.value)


def _loads_as_before(cache: Path, expected: Simulation) -> bool:
    """Whether a damaged file loads with the same arrays; False if it is refused."""
    try:
        _, given = load_fit(cache, KEY, _fresh(), ASSIGNMENTS)
    except CalibrationError:
        return False
    for ours, theirs in ((given.weights, expected.weights), (given.biases, expected.biases)):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(torch.equal(given.steps[key], expected.steps[key]) for key in expected.steps)
    assert all(torch.equal(given.scales[key], expected.scales[key]) for key in expected.scales)
    return True


def test_a_changed_byte_is_refused_or_changes_nothing(
    cache: Path, network: Simulation, rng: np.random.Generator
) -> None:
    """Some bytes of the archive's directory, and of the arrays before it."""
    content = cache.read_bytes()
    places = [*rng.integers(len(content) - 2000, len(content), 100), *rng.integers(0, len(content), 60)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        cache.write_bytes(damaged)
        _loads_as_before(cache, network)


def test_a_file_without_its_end_is_refused(cache: Path, network: Simulation, rng: np.random.Generator) -> None:
    content = cache.read_bytes()
    lengths = [*range(len(content) - 100, len(content)), *rng.integers(0, len(content), 100)]
    for length in lengths:
        cache.write_bytes(content[:length])
        assert not _loads_as_before(cache, network)


def test_a_cache_that_cannot_be_written(tmp_path: Path, graph: Graph, network: Simulation) -> None:
    (tmp_path / "fit.npz").mkdir()
    with pytest.raises(CalibrationError, match=r"fit\.npz cannot be written"):
        save_fit(tmp_path / "fit.npz", KEY, graph, network)
    with pytest.raises(CalibrationError, match="cannot be written: No such file"):
        save_fit(tmp_path / "none" / "fit.npz", KEY, graph, network)
