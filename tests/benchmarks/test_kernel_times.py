"""benchmarks.kernels.gpu without a GPU: what it compares with, its inputs and its table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.kernels.gpu import comparisons, rivals, time
from benchmarks.kernels.gpu.profile import Duration
from benchmarks.kernels.model import counts, rows, tables
from benchmarks.kernels.model.gpus import GPUS
from engine import ops
from tests.csrc.launchers.launchers import SUCCESS, run
from tests.csrc.plugins.conftest import DRIVER, library
from tests.csrc.plugins.driver import Library
from tests.support.tolerances import DEFORM_CONV_ABSOLUTE, GREY_LEVELS_OPENCV

__all__ = ["library"]  # a fixture


def test_without_a_gpu_it_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert time.main([]) == 1
    assert "needs an NVIDIA GPU" in capsys.readouterr().err


@pytest.mark.gpu
def test_the_program_on_the_emulator(
    library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it but PyTorch's part: the profiler, copies and products."""
    few = [one for one in comparisons.comparisons(torch.device("cpu")) if one.name.startswith("NMS, 1 x 200")]
    profiled = Duration(50.0, {"kernel": 50.0})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(ops, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(time, "measure_ceilings", lambda: "Ceilings.")
    monkeypatch.setattr(time, "comparisons", lambda device: [replace(few[0], modelled=rows.ROWS[0].name)])
    monkeypatch.setattr(time, "duration", lambda call, flush=False: profiled)
    monkeypatch.setattr(time, "Library", lambda driver, plugins: library)
    monkeypatch.setattr(time, "DEVICE_BUILD", tmp_path)
    assert time.main([]) == 1
    assert "Build it: scripts/build-for-emulator VENV device" in capsys.readouterr().err
    (tmp_path / DRIVER).touch()
    assert time.main(["--json", str(tmp_path / "times.json")]) == 0
    written = json.loads((tmp_path / "times.json").read_text())
    assert (written["gpu"], written["ceilings"]) == ("NVIDIA H100 80GB HBM3", "Ceilings.")
    (row,) = written["rows"]
    assert row["name"] == few[0].name
    assert row["ours"] > 0
    assert row["modelled"] == pytest.approx(11.1, abs=0.05), "as the table of docs/development/kernels.md says"
    assert row["flushed"]["microseconds"] == 50


def _random_heads() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    heads = []
    for side in (6, 3):
        logits, boxes, landmarks = (torch.randn(2, 2 * n, side, side, generator=generator) for n in (2, 4, 10))
        heads.append((logits, boxes, landmarks))
    return heads


def test_the_plain_decoding_finds_what_ours_finds() -> None:
    """A rival that computes something else would be no comparison."""
    heads, strides, sizes = _random_heads(), (8, 16), ((16.0, 32.0), (64.0, 128.0))
    found = ops.decode(
        [tuple(head.numpy() for head in level) for level in heads],
        strides=strides,
        anchor_sizes=sizes,
        score_threshold=0.3,
        top_k=40,
    )
    for image, (boxes, scores, landmarks) in enumerate(rivals.decode(heads, strides, sizes, 0.3, 40)):
        count = int(found.count[image])
        assert 0 < count == len(scores)
        assert found.payload is not None
        for ours, theirs in ((found.scores, scores), (found.boxes, boxes), (found.payload, landmarks)):
            np.testing.assert_allclose(ours[image, :count], theirs.numpy(), rtol=1e-4, atol=1e-4)


def test_the_plain_letterbox_makes_nearly_the_same_pixels() -> None:
    """Both are bilinear; rounding of sides and of pixels differs by a grey level."""
    image = np.random.default_rng(1).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    ours = ops.letterbox([image], (32, 32), mean=110.0).batch
    theirs = rivals.letterbox([torch.from_numpy(image)], (32, 32), 110.0).numpy()
    assert np.abs(ours - theirs)[:, :, 8:24].mean() < 1


def _check_crops(comparison: comparisons.Comparison) -> None:
    """Both are bilinear; they round positions and pixels differently."""
    assert comparison.rival is not None
    ours, theirs = comparison.ours(), comparison.rival()
    assert isinstance(ours, ops.Aligned)
    assert isinstance(theirs, torch.Tensor)
    differences = np.abs(np.asarray(ours.crops).astype(int) - theirs.numpy())
    assert differences.max() <= GREY_LEVELS_OPENCV


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One convolution, which is small."""
    monkeypatch.setattr(comparisons, "CONVOLUTIONS", ((1, 8, 4),))


def test_all_comparisons_can_be_made(small: None) -> None:
    """Their inputs, here on the CPU."""
    names = []
    for comparison in comparisons.comparisons(torch.device("cpu")):
        names.append(comparison.name)
        if comparison.name.startswith("decode, 1") and comparison.rival is not None:
            comparison.rival()
        if comparison.name.startswith("align"):
            _check_crops(comparison)
    assert len(names) == len(set(names)) > 20


def test_every_row_of_the_model_is_beside_a_time() -> None:
    """On GPUs that the model knows; sigma 0, maps of 80 x 80 and a few others are in no row."""
    named = {comparison.modelled for comparison in comparisons.comparisons(torch.device("cpu"))}
    assert named >= {row.name for row in rows.ROWS}
    row, counted = rows.ROWS[0], counts.load()
    for name, gpu in (("NVIDIA H100 80GB HBM3", "H100"), ("Tesla T4", "T4"), ("NVIDIA GeForce RTX 4090", "RTX 4090")):
        (model,) = (one for one in GPUS if one.name == gpu)
        assert time.modelled_time(row.name, name) == tables.time(row, model, counted)
    assert time.modelled_time(row.name, "NVIDIA L40S") is None
    assert time.modelled_time("decode 3 images, few faces", "Tesla T4") is None
    assert time.modelled_time(None, "Tesla T4") is None


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["DeformConv float32, 1", "NMS, 1 x 200", "decode, 1", "letterbox, 1", "align, 1"])
def test_the_launcher_that_is_timed_does_the_same(library: Library, small: None, name: str) -> None:
    """As engine.ops on the CPU, to the last bit but for the convolution."""
    comparison = next(one for one in comparisons.comparisons(torch.device("cpu")) if one.name.startswith(name))
    found = run(library, comparison.operation(library))
    ours = comparison.ours()
    if isinstance(ours, tuple):
        present = [array for array in ours if array is not None]
        for array, expected in zip(found, present, strict=True):
            assert array.tobytes() == np.asarray(expected).tobytes()
    else:
        expected = np.asarray(ours)
        # Both are that near to the exact result.
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=2 * DEFORM_CONV_ABSOLUTE)
    assert 0 < time.replayed(library, comparison.operation(library), launches=2, replays=2) < math.inf


def test_a_time_is_the_median_replay_s_of_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a graph of 20 launches."""

    class Fake:
        def __init__(self, library: object, operation: object) -> None:
            self.captured = 0

        def launch(self) -> int:
            return SUCCESS

        def results(self) -> None:
            assert self.captured == 0, "kernels are loaded before the capture"

        def capture(self, launches: int) -> int:
            self.captured = launches
            return 7

        def times_ms(self, graph: int, replays: int) -> list[float]:
            assert (graph, self.captured) == (7, 20)
            return [0.3, 9.0, 0.5, 0.4, 0.1][:replays]

    monkeypatch.setattr(time, "Launch", Fake)
    unused: Any = None
    assert time.replayed(unused, unused, launches=20, replays=5) == pytest.approx(400 / 20)


def test_the_table() -> None:
    lines = [
        time.Row("one", 2.0, 1.75, Duration(2.5, {"a": 2.5}), Duration(5.0, {"b": 5.0})),
        time.Row("two", 1.25, None, Duration(1.5, {}), None),
    ]
    assert time.report("A GPU.", lines).splitlines() == [
        "A GPU.",
        "",
        "| operator | ours, us | modelled, us | L2 flushed, us | theirs, us | theirs / ours |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| one | 2.0 | 1.8 | 2.5 | 5.0 | 2.50 |",
        "| two | 1.2 |  | 1.5 |  |  |",
    ]
