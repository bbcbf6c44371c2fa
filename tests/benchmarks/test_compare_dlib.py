"""benchmarks/compare_dlib.py, with a fake dlib; the last test uses the real one if it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.compare_dlib import dlib_detector, main
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.oracles.boxes import iou


def _fake_dlib(calls: list[tuple[Any, int]]) -> Any:
    """Return a fake dlib that finds the astronaut's face only in enlarged pictures, and records its calls."""
    x1, y1, x2, y2 = ASTRONAUT_FACE
    face = SimpleNamespace(left=lambda: x1, top=lambda: y1, right=lambda: x2, bottom=lambda: y2)

    def detector(image: Any, upsample: int) -> list[Any]:
        calls.append((image[0, 0].tolist(), upsample))
        return [face] * upsample

    return SimpleNamespace(get_frontal_face_detector=lambda: detector)


def test_both_are_counted_and_timed(
    ranged_engine: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[tuple[Any, int]] = []
    monkeypatch.setitem(sys.modules, "dlib", _fake_dlib(calls))
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({"image": photo.name, "faces": [{"box": ASTRONAUT_FACE.tolist()}]}) + "\n")
    arguments = ["--engine", ranged_engine, "--device", "cpu", "--labels", labels, "--json", tmp_path / "d.json"]
    assert main([*map(str, arguments), "--rounds", "2", str(photo)]) == 0
    assert len(calls) == 2 * 3
    assert calls[0] == (astronaut()[0, 0, ::-1].tolist(), 0)  # dlib expects RGB
    written = json.loads((tmp_path / "d.json").read_text())
    plain, enlarged, ours = written["results"]
    assert (plain["faces"], plain["labelled"]) == (0, 0)
    assert (enlarged["faces"], enlarged["labelled"]) == (1, 1)
    assert (ours["faces"], ours["labelled"]) == (1, 1)
    assert 0 < ours["slowest"] <= ours["images_per_second"] <= ours["fastest"]
    assert "dlib HOG" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(
    ranged_engine: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    engine = ["--engine", str(ranged_engine), "--device", "cpu"]
    assert main([*engine, str(photo)]) == 1
    assert "compare_dlib: error: dlib is not installed" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "dlib", _fake_dlib([]))
    assert main([*engine, str(tmp_path / "nowhere.png")]) == 1
    assert "nowhere.png cannot be read" in capsys.readouterr().err
    assert main([*engine, "--rounds", "0", str(photo)]) == 1
    assert "--rounds is 0" in capsys.readouterr().err
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"image": "other.png", "faces": []}\n')
    assert main([*engine, "--labels", str(labels), str(photo)]) == 1
    assert f"has no line for {photo}" in capsys.readouterr().err
    calls: list[tuple[Any, int]] = []
    monkeypatch.setitem(sys.modules, "dlib", _fake_dlib(calls))
    for path, message in ((tmp_path, "is a folder"), (photo / "d.json", "cannot write to the folder")):
        assert main([*engine, "--json", str(path), str(photo)]) == 1
        assert message in capsys.readouterr().err
    assert not calls


def test_photos_of_one_name_are_two(
    ranged_engine: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", _fake_dlib([]))
    other = tmp_path / "empty" / photo.name
    other.parent.mkdir()
    cv2.imwrite(str(other), np.full((64, 64, 3), 127, np.uint8))
    labels = tmp_path / "labels.jsonl"
    lines = [{"image": str(photo), "faces": [{"box": ASTRONAUT_FACE.tolist()}]}, {"image": str(other), "faces": []}]
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["--engine", ranged_engine, "--device", "cpu", "--labels", labels, "--rounds", 1]
    command = [*map(str, arguments), "--json", str(tmp_path / "d.json"), str(photo), str(other), str(photo)]
    assert main(command) == 0
    written = json.loads((tmp_path / "d.json").read_text())
    assert written["photos"] == 2
    assert [(r["faces"], r["labelled"]) for r in written["results"]] == [(0, 0), (2, 1), (1, 1)]
    labels.write_text(json.dumps({"image": photo.name, "faces": []}) + "\n")
    assert main(command) == 1
    assert f"astronaut.png could be {photo} and {other}" in capsys.readouterr().err


def test_the_real_detector_finds_the_astronaut() -> None:
    pytest.importorskip("dlib", reason="dlib-bin is not installed")
    boxes = dlib_detector(1)(astronaut())
    assert max(iou(box, ASTRONAUT_FACE) for box in boxes) >= 0.4
