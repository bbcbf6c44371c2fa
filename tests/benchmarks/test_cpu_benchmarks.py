"""The CPU benchmarks: the usual pipeline finds the same faces, timing is right, workers report their errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cpu.dense import convolve_sparse, sheet, sparse_steps
from benchmarks.cpu.operators import suppressions
from benchmarks.cpu.side_by_side import ratio, time_in_turn
from benchmarks.peers.__main__ import table
from benchmarks.peers.pipeline import letterbox
from benchmarks.peers.run import Worker, measure
from engine import ops
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.weights import bases
from engine.mesh.levels import make_levels

MEAN = (104.0, 117.0, 123.0)


def test_the_usual_pipeline_finds_what_our_operators_find(rng: np.random.Generator) -> None:
    """For all 102,300 anchors; otherwise the benchmark would compare different work."""
    _, agree = suppressions(rng)
    assert agree == 1.0


@pytest.mark.parametrize("order", [1, 2, 4])
def test_sparse_and_dense_convolutions_of_meshes_are_the_same(order: int, rng: np.random.Generator) -> None:
    """Up-sampling and convolving with sparse matrices is the product with the dense basis."""
    weights = MeshDecoder(make_levels(sheet(9)), order=order).weights()
    steps = list(sparse_steps(weights))
    assert len(steps) == 2
    for (up, laplacian, weight), basis in zip(steps, bases(weights.levels, order), strict=True):
        x = rng.normal(size=(basis.shape[2], 3, weight.shape[1])).astype(np.float32)
        found = convolve_sparse(x.reshape(len(x), -1), up, laplacian, weight).reshape(-1, 3, weight.shape[2])
        expected = np.einsum("kuv,vnc,kcd->und", basis, x, weight, dtype=np.float64)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()  # float32


@pytest.mark.parametrize("shape", [(300, 500), (64, 64), (70, 41)])
def test_the_usual_letterbox_gives_our_pixels(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs, _ = letterbox(image, 64, MEAN)
    ours = ops.letterbox(image, (64, 64), mean=MEAN, pad_value=(104, 117, 123)).batch
    assert np.abs(ours - theirs).max() <= 1  # OpenCV rounds its weights


def test_alternatives_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    seconds = time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    fixed = {"slow": np.array([2.0, 4.0, 6.0]), "fast": np.array([1.0, 1.0, 2.0])}
    assert ratio(fixed, "slow", "fast") == "3.00 (2.50 to 3.50)"


class _Fake:
    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked, self.runtime = seconds, list[int](), "a library"

    def detect(self, index: int) -> dict[str, object]:
        self.asked.append(index)
        stages = {"letterbox": self.seconds, "network": 2 * self.seconds}
        boxes, scores = [[0, 0, 9, 9], [20, 20, 30, 30 + index]], [0.7, 0.9]
        return {"stages": stages, "boxes": boxes, "scores": scores, "landmarks": None}


def test_measuring_adds_up_stages_and_leaves_out_the_first_round() -> None:
    fakes = {"ours": _Fake(0.25), "other": _Fake(0.5)}
    measured = measure(fakes, pictures=2, rounds=3)  # type: ignore[arg-type]
    assert fakes["ours"].asked == [0, 1] * 4
    assert measured["ours"].rounds == [1.5] * 3
    assert measured["other"].stages == {"letterbox": [0.5] * 3, "network": [1.0] * 3}
    assert measured["ours"].runtime == "a library"
    assert [faces.boxes[0, 3] for faces in measured["ours"].faces] == [30.0, 31.0]  # highest score first


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    setup = {"onnx": "", "state_dict": "", "traced": str(tmp_path / "no.pt"), "engine": "", "threads": 1}
    job = {"peer": "torch-numpy", "images": [], "setup": setup}
    with pytest.raises(RuntimeError, match=r"no\.pt"):
        Worker(Path(sys.executable), job, sorted(os.sched_getaffinity(0))[:1], tmp_path / "log")


def test_the_table_has_speed_accuracy_and_the_peers_that_did_not_run() -> None:
    row = {
        "runtime": "a library 1.2",
        "stages_ms": {"letterbox": 1.0, "network": 2.0},
        "images_per_second": 300.0,
        "ratio": 1.5,
        "ratio_quartiles": [1.4, 1.6],
        "faces": 19,
        "lost": 1,
        "new": 2,
        "iou": [0.9123, 0.8],
        "landmark_error": 0.012,
    }
    blind = {**row, "runtime": None, "iou": None, "landmark_error": None}
    text = table({"peers": {"x": row, "again": row, "z": blind}, "missing": {"y": "no such package"}})
    assert "| x | 1.00 | 2.00 |  | 300.0 | 1.50 (1.40 to 1.60) | 19: 1, 2 | 0.912, 0.800 | 0.0120 |" in text
    assert "| z | 1.00 | 2.00 |  | 300.0 | 1.50 (1.40 to 1.60) | 19: 1, 2 |  |  |" in text
    assert "x, again: a library 1.2." in text
    assert "y did not run: no such package" in text
