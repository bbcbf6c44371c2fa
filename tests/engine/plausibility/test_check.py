"""Published weights, given as if they were unknown, with right and wrong settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import cv2
import pytest
import torch

from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.pictures.drawn import drawn_faces
from engine.plausibility.check import read_picture, remarks
from engine.types import WeightsOrigin

MOBILENET, RELU = preset("mobilenet0.25"), preset("mobilenet0.25-relu")
OWN = replace(MOBILENET, name="own")
UNKNOWN = WeightsOrigin("own.pth", "0" * 64, None, "")
SIZE = (320, 320)

Claiming = Callable[[RetinaFaceConfig], RetinaFace]


@pytest.fixture(scope="module")
def claiming() -> Claiming:
    """Return the default weights, which have no statistics, with the settings of any config."""
    state = load_model(MOBILENET)[0].state_dict()

    def claim(config: RetinaFaceConfig) -> RetinaFace:
        model = RetinaFace(config)
        model.load_state_dict(state)
        return model.eval()

    return claim


def test_the_right_settings_are_confirmed_on_the_drawn_picture(claiming: Claiming) -> None:
    table, verdict = remarks(claiming(MOBILENET), UNKNOWN, None, SIZE)
    rows = table.split("\n")
    assert rows[0] == "Note: own.pth with the settings that its shapes allow, on a drawn picture of 5 faces:"
    assert rows[2].split()[:2] == ["5", "5"]  # faces, and plausible ones
    assert rows[2].endswith("(chosen)")
    assert verdict == "Note: no other setting is clearly better than those of config 'mobilenet0.25'"


@pytest.mark.parametrize(
    "config",
    [
        replace(OWN, negative_slope=0.0),
        replace(OWN, color_order="rgb"),
        replace(OWN, levels=RELU.levels),
        preset("insightface-mobilenet0.25"),
    ],
    ids=["slope", "colours", "anchors", "all"],
)
def test_wrong_settings_are_named(config: RetinaFaceConfig, claiming: Claiming) -> None:
    table, verdict = remarks(claiming(config), UNKNOWN, None, SIZE)
    assert table.count("(chosen)") == 1
    assert verdict.startswith(
        f"Warning: the faces are more plausible with other settings than those of config {config.name!r}:"
    )
    assert verdict.endswith("Use --config mobilenet0.25")


def test_a_given_picture_is_used_for_known_weights_too(claiming: Claiming, tmp_path: Path) -> None:
    path = tmp_path / "faces.png"
    cv2.imwrite(str(path), drawn_faces())
    known = replace(UNKNOWN, source="mobilenet0.25", known_as="mobilenet0.25")
    table, verdict = remarks(claiming(RELU), known, read_picture(path), SIZE)
    pictures = f"{path} and a drawn picture of 5 faces"
    assert table.startswith(f"Note: mobilenet0.25 with the settings that its shapes allow, on {pictures}:")
    assert table.split("\n")[2].split()[:2] == ["10", "10"]  # twice those of one
    assert verdict.endswith("Use --config mobilenet0.25")


@pytest.mark.parametrize("origin", [replace(UNKNOWN, known_as="mobilenet0.25"), replace(UNKNOWN, source="random")])
def test_known_and_random_weights_are_not_tried_unasked(origin: WeightsOrigin) -> None:
    model = RetinaFace(MOBILENET).eval()
    model.forward = None  # type: ignore[method-assign, assignment]
    assert remarks(model, origin, None, SIZE) == []


def test_weights_that_find_hundreds_of_faces_are_no_better() -> None:
    """A model with random weights sees faces everywhere: without landmarks their boxes agree."""
    torch.manual_seed(0)
    model = RetinaFace(replace(MOBILENET, name="own", heads=("class", "box"))).eval()
    _, verdict = remarks(model, UNKNOWN, None, SIZE)
    assert verdict.startswith("Warning: the weights find no plausible face with any of these settings.")


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidArgumentError, match=r"--check .*x.jpg: is not a picture"):
        read_picture(tmp_path / "x.jpg")
    with pytest.raises(InvalidArgumentError, match=r"--check .*y.jpg: cannot be read: No such file"):
        read_picture(tmp_path / "y.jpg")
    assert read_picture(None) is None


@pytest.mark.parametrize(
    "error", [RuntimeError("no memory\nat line 7"), MemoryError(), InvalidArgumentError("too many")]
)
def test_a_trial_that_fails_is_a_remark(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plausibility.check.trials", Mock(side_effect=error))
    (remark,) = remarks(RetinaFace(MOBILENET), UNKNOWN, None, SIZE)
    assert remark.startswith("Warning: the weights were not tried on a picture with faces: ")
    assert "\n" not in remark
