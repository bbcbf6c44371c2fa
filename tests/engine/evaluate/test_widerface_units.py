"""Predictions as fractions or as corners are named, others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.evaluate.widerface.units import hint_at_units
from tests.support.widerface_cases import Floats, predicted, random_truth, write_truth


def as_corners(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4], boxes[:, 4:]], axis=1)


def as_fractions(boxes: Floats) -> Floats:
    return boxes / [1000, 1000, 1000, 1000, 1]


@pytest.mark.parametrize("case", range(5))
def test_other_units_are_named_and_the_right_ones_pass(rng: np.random.Generator, case: int) -> None:
    truth = random_truth(rng, images=9)
    predictions = predicted(truth, np.random.RandomState(case))
    assert hint_at_units(truth, predictions) is None
    assert "seem to be corners" in (hint_at_units(truth, [as_corners(boxes) for boxes in predictions]) or "")
    assert "lie in 0 to 1" in (hint_at_units(truth, [as_fractions(boxes) for boxes in predictions]) or "")
    assert hint_at_units(truth, [boxes[:0] for boxes in predictions]) is None


def test_faces_in_the_corner_of_their_images_are_no_corners(rng: np.random.Generator) -> None:
    """Where every width is larger than the place from the left, the number of faces found tells."""
    truth = random_truth(rng, images=3)
    ours = [np.array([[1.0, 2.0, 30.0, 40.0, 0.9]])] * 3
    truth = type(truth)(
        truth.names, tuple(boxes[:, :4] for boxes in ours), dict.fromkeys(truth.subsets, ((np.array([True]),) * 3))
    )
    assert hint_at_units(truth, ours) is None


def test_the_command_warns(tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    truth = random_truth(rng, images=9)
    write_truth(tmp_path / "truth", truth)
    for name, boxes in zip(truth.names, predicted(truth, np.random.RandomState(0)), strict=True):
        path = tmp_path / "found" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [" ".join(map(repr, map(float, row))) for row in as_corners(boxes)]
        path.write_text("\n".join([name, str(len(lines)), *lines]))
    folders = ["--ground-truth", str(tmp_path / "truth"), "--predictions", str(tmp_path / "found")]
    assert main(["evaluate", "widerface", *folders]) == 0
    assert "warning: the predicted boxes seem to be corners" in capsys.readouterr().err
