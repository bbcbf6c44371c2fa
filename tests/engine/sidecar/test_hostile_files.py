"""Engines whose files agree with each other and yet are none that a build wrote: refused, or as good as any other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import BuildError, EngineLoadError, TRTRetinaFace
from engine.build import pipeline
from engine.sidecar import network_path, operators, sidecar_path
from tests.engine.sidecar.agreeing import Place, changed, places, write_agreeing
from tests.engine.sidecar.hostile_networks import endless_loop, enormous_constant, nested_ifs
from tests.support.engines import build_stand_in
from tests.support.memory import at_most_more

IMAGE = np.zeros((64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine."""
    path = tmp_path_factory.mktemp("stand-in") / "faces.engine"
    build_stand_in(path)
    return path


@pytest.fixture
def hostile(original: Path, tmp_path: Path) -> Path:
    """A copy of it, whose sidecar and network a test changes."""
    for path in original.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / original.name


def _values(engine: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(sidecar_path(engine).read_text())
    return values


def test_files_that_agree_load(original: Path, hostile: Path) -> None:
    """What the other tests change is all that is wrong there."""
    write_agreeing(hostile, _values(original), onnx.load(network_path(original)))
    TRTRetinaFace(hostile, "cpu").detect(IMAGE)


def test_a_wrong_sidecar_is_refused_before_the_plan_is_read(hostile: Path) -> None:
    os.truncate(hostile, 1 << 30)
    sidecar_path(hostile).write_text("{}")
    with at_most_more(64 << 20), pytest.raises(EngineLoadError, match=r"sidecar .*faces.engine.json: .* lacks"):
        TRTRetinaFace(hostile, "cpu")
    hostile.unlink()
    with pytest.raises(EngineLoadError, match=r"the engine .*faces.engine cannot be read: No such file"):
        TRTRetinaFace(hostile, "cpu")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (enormous_constant, r"a node 'hostile' \('ConstantOfShape'\) that no build writes"),
        (endless_loop, r"a subgraph in its attribute, .* in node 'hostile' \('Loop'\)"),
        (nested_ifs, r"a subgraph in its attribute, .* in node 'hostile' \('If'\)"),
    ],
)
def test_networks_made_to_hurt_are_refused(
    original: Path, hostile: Path, edit: Callable[[onnx.ModelProto], None], said: str
) -> None:
    network = onnx.load(network_path(original))
    edit(network)
    write_agreeing(hostile, _values(original), network)
    with pytest.raises(EngineLoadError, match=rf"^the network .*faces.network.onnx has .*({said}).* rebuild: python "):
        TRTRetinaFace(hostile, "cpu")


def test_a_network_that_the_library_cannot_load_is_named(original: Path, hostile: Path) -> None:
    network = onnx.load(network_path(original))
    network.ir_version = 1 << 31
    write_agreeing(hostile, _values(original), network)
    with pytest.raises(EngineLoadError, match=r"faces.network.onnx: ONNX Runtime cannot load .*IR version: 2147483648"):
        TRTRetinaFace(hostile, "cpu:onnxruntime")


def _nested(depth: int) -> list[Any]:
    return [_nested(depth - 1)] if depth else []


NUMBERS = st.sampled_from([0, -1, 1, 3, 1 << 31, 1 << 62, 10**400, 1e-300, 1e308, 0.5, float("nan"), float("inf")])
TEXTS = st.sampled_from(["", "x", "fp32", "images", "../x", "\x1b[2J", "ä" * 20_000]) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=5)
    | st.dictionaries(TEXTS, SCALARS, max_size=3)
    | st.sampled_from([_nested(100), [1] * 100_000])
)


def _value_at(values: Any, place: Place) -> Any:
    for key in place:
        values = values[key]
    return values


def _similar(value: Any) -> list[Any]:
    """Other values of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value * 2, value / 2 if isinstance(value, float) else value // 2]
    return [value[:-1], value * 2] if isinstance(value, (list, str)) else [value]


def _check_refused_or_right(engine: Path, values: Any) -> None:
    """Write a sidecar that says these values, and a network that agrees with it."""
    write_agreeing(engine, values)
    try:
        detector = TRTRetinaFace(engine, "cpu")
    except EngineLoadError as error:
        said = str(error)
    else:
        said = str(engine)
        detector.detect(IMAGE)
    assert str(engine) in said
    assert len(said) < 10_000


@pytest.mark.slow
def test_similar_values_are_refused_or_right(original: Path, hostile: Path) -> None:
    values = _values(original)
    for place in places(values):
        for value in _similar(_value_at(values, place)):
            _check_refused_or_right(hostile, changed(values, place, value))


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_a_sidecar_says_is_refused_or_right(original: Path, hostile: Path, data: st.DataObject) -> None:
    values: Any = _values(original)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(list(places(values))))
        values = changed(values, place, data.draw(VALUES))
    _check_refused_or_right(hostile, values)


def test_a_build_does_not_write_what_would_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(operators.OPERATORS, "Resize")
    with pytest.raises(BuildError, match=r"network would be refused when it is loaded: it has a node .*'Resize'"):
        build_stand_in(tmp_path / "faces.engine")
    monkeypatch.setattr(pipeline, "_check_network", lambda *_: None)  # what is refused only when its precision is known
    with pytest.raises(BuildError, match=r"would be refused when they are loaded: has a node .*'Resize'"):
        build_stand_in(tmp_path / "faces.engine")
    assert not list(tmp_path.glob("faces*"))
