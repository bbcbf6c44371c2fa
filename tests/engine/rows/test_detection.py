"""Settings that are sent to other processes, and those that come with a request."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from engine.errors import InvalidArgumentError
from engine.rows import Detection, options_of


def test_the_path_of_an_engine_is_absolute_and_the_name_of_weights_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    detection = Detection("faces.engine", min_size=3)
    assert pickle.loads(pickle.dumps(detection)) == detection == Detection(tmp_path / "faces.engine", min_size=3)
    assert Detection("mobilenet0.25").engine == "mobilenet0.25"


def test_a_selection_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError, match="max_faces"):
        Detection("faces.engine", max_faces=-1)


def test_options_are_numbers_with_names_that_are_known() -> None:
    assert options_of({}) == {}
    given = {"score_threshold": "0.7", "min_size": "20", "max_faces": "3"}
    assert options_of(given) == {"score_threshold": 0.7, "min_size": 20.0, "max_faces": 3}
    for options, words in (
        ({"max_faces": "1.5"}, "max_faces is '1.5', expected a number"),
        ({"min_size": ""}, "min_size is '', expected a number"),
        ({"crops": "box"}, "no option 'crops', expected one of score_threshold, min_size, max_faces"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            options_of(options)
