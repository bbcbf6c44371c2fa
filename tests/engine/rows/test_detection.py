"""Settings that are sent to other processes, and those that come with a request."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.rows import Detection, face_columns, options_of
from engine.serve.routes.detect import DetectQuery


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


def test_options_are_numbers_and_flags_with_names_that_are_known() -> None:
    assert options_of({}) == {}
    given = {"score_threshold": "0.7", "min_size": "20", "max_faces": "3", "meshes": "true"}
    assert options_of(given) == {"score_threshold": 0.7, "min_size": 20.0, "max_faces": 3, "meshes": True}
    for options, words in (
        ({"max_faces": "1.5"}, "max_faces is '1.5', expected a whole number"),
        ({"min_size": ""}, "min_size is '', expected a number"),
        ({"meshes": "2"}, "meshes is '2', expected true or false"),
        ({"crops": "box"}, "no option 'crops', expected one of score_threshold, min_size, max_faces, meshes"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            options_of(options)


@pytest.mark.parametrize("text", [*"01ftnyTF2x", "true", "False", "YES", "no", "On", "off", "", "10", " true", "none"])
def test_flags_are_those_of_the_service(text: str) -> None:
    try:
        wanted = DetectQuery.model_validate({"meshes": text}).meshes
    except ValueError:
        with pytest.raises(InvalidArgumentError):
            options_of({"meshes": text})
    else:
        assert options_of({"meshes": text}) == {"meshes": wanted}


def test_the_columns_of_weights_are_those_of_their_model() -> None:
    for name in ("mobilenet0.25", "mobilenet0.25-masks"):
        columns = Detection(name, meshes=True).columns()
        assert [column.name for column in columns] == [column.name for column in face_columns(preset(name))]
    with pytest.raises(InvalidArgumentError, match="there is no file nothing"):
        Detection("nothing").columns()
