"""Judging: average precision of what a network finds in labelled pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.config.heads import ValueHead
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.metrics.heads import HeadErrors
from engine.model.weights.load import load_model
from engine.train.finding.finder import Finder
from engine.train.judge import Judge
from engine.train.labels.labelled import LabelledPicture
from tests.support.data import ASTRONAUT_FACE
from tests.support.faces import face
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


@pytest.mark.parametrize(("points", "size"), [(1, 144), (5, 1), (68, 1)])
def test_points_and_values_of_faces_that_are_found_are_judged(
    points: int, size: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three faces of 20 pixels one has no labelled points, one no value of the second head, and one is not found."""
    boxes = np.array([face(50 * i, 0, 20) for i in range(3)], np.float32)
    landmarks = rng.uniform(0, 99, (3, points, 2)).astype(np.float32)
    values = rng.normal(0, 1, (3, 2 + size)).astype(np.float32)
    found = Detections(
        boxes,
        [0.9, 0.8, 0.4],
        landmarks + np.array([3, 4], np.float32),  # 5 pixels
        values={"pair": values[:, :2] + 2, "code": values[:, 2:] - np.array([[1], [7], [7]])},
    )
    landmarks[1], values[1, 2:] = np.nan, np.nan
    picture = replace(labelled(Path("a"), *boxes.tolist()), landmarks=landmarks, values=values)
    config = replace(TINY, mirrored_points=tuple(range(points)), values=(ValueHead("pair", 2), ValueHead("code", size)))
    monkeypatch.setattr(Finder, "find", lambda *_: [found])
    judgement = Judge([picture], config, ALONE).judge(tiny_network())
    assert judgement is not None
    known = judgement.head_errors.known
    assert {name: error.count for name, error in known.items()} == {"landmarks": 1, "pair": 2, "code": 1}
    assert {name: error.mean for name, error in known.items()} == pytest.approx(
        {"landmarks": 5 / 20, "pair": 2, "code": 1}, rel=1e-5
    )
    ignored = replace(picture, ignored=np.array([True, False, False]))
    judgement = Judge([ignored], config, ALONE).judge(tiny_network())
    assert judgement is not None
    assert {name: error.count for name, error in judgement.head_errors.known.items()} == {"pair": 1}


def test_models_and_labels_without_points_have_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.array([face(0, 0, 20)], np.float32)
    for landmarks, config in ((None, replace(TINY, heads=("class", "box"))), (np.zeros((1, 5, 2)), TINY)):
        found = Detections(box, [0.9], landmarks)
        monkeypatch.setattr(Finder, "find", lambda *_, found=found: [found])
        judgement = Judge([labelled(Path("a"), *box.tolist())], config, ALONE).judge(tiny_network())
        assert judgement is not None
        assert judgement.head_errors == HeadErrors(None, {})


def test_judging_can_be_stopped(tmp_path: Path) -> None:
    judge = Judge(drawn_pictures(tmp_path, 1), TINY, ALONE)
    assert judge.judge(tiny_network().eval(), lambda: True) is None


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    judge = Judge([labelled(tmp_path / "gone.png", (0, 0, 9, 9))], TINY, ALONE)
    with pytest.raises(InvalidArgumentError, match=r"gone\.png cannot be read"):
        judge.judge(tiny_network().eval())
