"""benchmarks.kernels.gpu without a GPU: what it compares with, its inputs and its table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.kernels.gpu import rivals, time
from benchmarks.kernels.gpu.profile import Duration
from engine import ops
from tests.support.tolerances import GREY_LEVELS_OPENCV


def test_without_a_gpu_it_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert time.main([]) == 1
    assert "needs an NVIDIA GPU" in capsys.readouterr().err


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
        assert found.landmarks is not None
        for ours, theirs in ((found.scores, scores), (found.boxes, boxes), (found.landmarks, landmarks)):
            np.testing.assert_allclose(ours[image, :count], theirs.numpy(), rtol=1e-4, atol=1e-4)


def test_the_plain_letterbox_makes_nearly_the_same_pixels() -> None:
    """Both are bilinear; rounding of sides and of pixels differs by a grey level."""
    image = np.random.default_rng(1).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    ours = ops.letterbox([image], (32, 32), mean=110.0).batch
    theirs = rivals.letterbox([torch.from_numpy(image)], (32, 32), 110.0).numpy()
    assert np.abs(ours - theirs)[:, :, 8:24].mean() < 1


def _check_crops(comparison: time.Comparison) -> None:
    """Both are bilinear; they round positions and pixels differently."""
    assert comparison.rival is not None
    ours, theirs = comparison.ours(), comparison.rival()
    assert isinstance(ours, ops.Aligned)
    assert isinstance(theirs, torch.Tensor)
    differences = np.abs(np.asarray(ours.crops).astype(int) - theirs.numpy())
    assert differences.max() <= GREY_LEVELS_OPENCV


def test_all_comparisons_can_be_made() -> None:
    """Their inputs, here on the CPU and small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "CONVOLUTIONS", ((1, 8, 4),))
        names = []
        for comparison in time.comparisons(torch.device("cpu")):
            names.append(comparison.name)
            if comparison.name.startswith("decode, 1") and comparison.rival is not None:
                comparison.rival()
            if comparison.name.startswith("align"):
                _check_crops(comparison)
    assert len(names) == len(set(names)) > 20


def test_the_table() -> None:
    rows = [
        time.Row("one", Duration(2.0, {"a": 2.0}), Duration(2.5, {"a": 2.5}), Duration(5.0, {"b": 5.0})),
        time.Row("two", Duration(1.25, {}), Duration(1.5, {}), None),
    ]
    assert time.report("A GPU.", rows).splitlines() == [
        "A GPU.",
        "",
        "| operator | ours, us | L2 flushed, us | theirs, us | theirs / ours |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| one | 2.0 | 2.5 | 5.0 | 2.50 |",
        "| two | 1.2 | 1.5 |  |  |",
    ]
