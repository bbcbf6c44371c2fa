"""Engines whose files agree with each other and yet are none that a build wrote: refused, or as good as any other."""

from __future__ import annotations

import json
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
from engine.sidecar import network_path, operators, sidecar_path
from tests.engine.sidecar.agreeing import Place, changed, places, write_agreeing
from tests.engine.sidecar.hostile_networks import endless_loop, enormous_constant, nested_ifs
from tests.support.engines import build_stand_in

IMAGE = np.zeros((64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine."""
    path = tmp_path_factory.mktemp("stand-in") / "faces.engine"
    build_stand_in(path)
    return path


@pytest.fixture(scope="module")
def hostile(stand_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it, whose sidecar and network the tests write anew."""
    folder = tmp_path_factory.mktemp("hostile")
    for path in stand_in.parent.iterdir():
        shutil.copy(path, folder)
    return folder / stand_in.name


def _values(engine: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(sidecar_path(engine).read_text())
    return values


def test_files_that_agree_load(stand_in: Path, hostile: Path) -> None:
    """What the other tests change is all that is wrong there."""
    write_agreeing(hostile, _values(stand_in), onnx.load(network_path(stand_in)))
    TRTRetinaFace(hostile, "cpu").detect(IMAGE)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (enormous_constant, r"a node 'hostile' \('ConstantOfShape'\) that no build writes"),
        (endless_loop, r"a subgraph in its attribute, .* in node 'hostile' \('Loop'\)"),
        (nested_ifs, r"a subgraph in its attribute, .* in node 'hostile' \('If'\)"),
    ],
)
def test_networks_made_to_hurt_are_refused(
    stand_in: Path, hostile: Path, edit: Callable[[onnx.ModelProto], None], said: str
) -> None:
    network = onnx.load(network_path(stand_in))
    edit(network)
    write_agreeing(hostile, _values(stand_in), network)
    with pytest.raises(EngineLoadError, match=rf"^the network .*faces.network.onnx has .*({said}).* rebuild: python "):
        TRTRetinaFace(hostile, "cpu")


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


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_a_sidecar_says_it_is_refused_or_right(stand_in: Path, hostile: Path, data: st.DataObject) -> None:
    values: Any = _values(stand_in)
    for _ in range(data.draw(st.integers(1, 2))):
        place: Place = data.draw(st.sampled_from([p for p in places(values) if p[0] != "files"]))
        values = changed(values, place, data.draw(VALUES))
    write_agreeing(hostile, values, onnx.load(network_path(stand_in)))
    try:
        detector = TRTRetinaFace(hostile, "cpu")
    except EngineLoadError as error:
        said = str(error)
    else:
        said = str(hostile)
        detector.detect(IMAGE)
    assert str(hostile) in said
    assert len(said) < 10_000


def test_a_build_does_not_write_what_would_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(operators.OPERATORS, "Resize")
    with pytest.raises(BuildError, match=r"would be refused when they are loaded: has a node .*'Resize'"):
        build_stand_in(tmp_path / "faces.engine")
    assert not list(tmp_path.glob("faces*"))
