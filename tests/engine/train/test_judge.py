"""Judging: average precision of what a network finds in labelled pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.model.weights.load import load_model
from engine.train.judge import Judge
from engine.train.labels.labelled import LabelledPicture
from tests.support.data import ASTRONAUT_FACE
from tests.support.training.runs import ALONE, TINY, drawn_pictures, tiny_network


def labelled(path: Path, *boxes: tuple[float, ...], ignored: tuple[bool, ...] = ()) -> LabelledPicture:
    """A picture with boxes."""
    count = len(boxes)
    flags = np.array(ignored or (False,) * count, np.bool_)
    landmarks = np.full((count, 5, 2), np.nan, np.float32)
    return LabelledPicture(
        path, np.array(boxes, np.float32).reshape(-1, 4), landmarks, flags, np.ones(len(flags), np.int32)
    )


def test_published_weights_find_the_face_of_a_photo(photo: Path) -> None:
    config = replace(PRESETS["mobilenet0.25"], input_size=(512, 512))
    network, _ = load_model(config)
    box = tuple(ASTRONAUT_FACE)
    judgement = Judge([labelled(photo, box)], config, ALONE).judge(network)
    assert judgement is not None
    assert judgement.average_precision == 1.0
    assert [value for value in judgement.by_size if value is not None] == [1.0]
    assert judgement.faces[0].boxes[0] == pytest.approx(box, abs=12)
    beside = (0.0, 0.0, 80.0, 80.0)
    missed = Judge([labelled(photo, box, beside)], config, ALONE).judge(network)
    assert missed is not None
    assert missed.average_precision == 0.5
    forgiven = Judge([labelled(photo, box, beside, ignored=(False, True))], config, ALONE).judge(network)
    assert forgiven is not None
    assert forgiven.average_precision == 1.0


def test_judging_can_be_stopped(tmp_path: Path) -> None:
    judge = Judge(drawn_pictures(tmp_path, 1), TINY, ALONE)
    assert judge.judge(tiny_network().eval(), lambda: True) is None


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    judge = Judge([labelled(tmp_path / "gone.png", (0, 0, 9, 9))], TINY, ALONE)
    with pytest.raises(InvalidArgumentError, match=r"gone\.png cannot be read"):
        judge.judge(tiny_network().eval())
