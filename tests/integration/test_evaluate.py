"""`retinaface-trt evaluate` with engines that were built."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.cli import main
from engine.detector import TRTRetinaFace
from engine.images import read_image
from engine.pictures.labels import label_line, read_labels
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.sidecar import network_path
from tests.support.data import ASTRONAUT_FACE, astronaut

pytest.importorskip("matplotlib", reason="the page has plots")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a photo, and its labels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "astronaut.png"), astronaut())
    labels = tmp_path / "labels.jsonl"
    labels.write_text(label_line("astronaut.png", ASTRONAUT_FACE[None]) + "\n")
    return folder, labels


def test_compose_then_agreement(
    fp32_engine: Path,
    fp16_engine: Path,
    photos: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = tmp_path / "made"
    arguments = ["evaluate", "compose", "--images", str(photos[0]), "--labels", str(photos[1]), "--seed", "7"]
    arguments += ["--size", "320", "320", "--count", "4"]
    assert main([*arguments, "--output", str(made)]) == 0
    assert capsys.readouterr().out.strip() == str(made / "labels.jsonl")
    labels = read_labels(made / "labels.jsonl")
    assert list(labels) == [f"00000{i}.png" for i in range(4)]
    assert all(read_image(made / name).shape == (320, 320, 3) for name in labels)
    assert main([*arguments, "--output", str(tmp_path / "again")]) == 0
    assert {p.name: p.read_bytes() for p in made.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }

    (made / "broken.png").write_bytes(b"no picture")
    known = tmp_path / "known.jsonl"
    known.write_text((made / "labels.jsonl").read_text() + label_line("broken.png", []) + "\n")
    as_json, as_html = tmp_path / "out" / "report.json", tmp_path / "out" / "report.html"
    capsys.readouterr()
    arguments = ["evaluate", "agreement", "--reference", str(fp32_engine), "--engine", str(fp16_engine)]
    arguments += ["--images", str(made), "--labels", str(known), "--device", "cpu"]
    assert main([*arguments, "--json", str(as_json), "--html", str(as_html)]) == 0
    printed = capsys.readouterr().out
    faces = sum(len(boxes) for boxes in labels.values())
    for expected in ("skipped broken.png", "4 pictures", "box IoU, mean", f"AP against {faces} labels", "lost at 0.5"):
        assert expected in printed
    # The fixtures differ in their input size too, and both are called faces.engine.
    assert "differs from" in caplog.text
    assert "input size" in caplog.text
    report = json.loads(as_json.read_text())
    assert report["reference"] == str(fp32_engine)
    (entry,) = report["engines"]
    assert entry["name"] == str(fp16_engine)
    assert entry["agreement"]["images"] == 4
    assert entry["agreement"]["labels"]["faces"] == faces
    assert entry["agreement"]["iou"]["mean"] > 0.9
    runtime = TRTRetinaFace(fp16_engine, "cpu").runtime
    assert report["runtimes"] == dict.fromkeys((str(fp32_engine), str(fp16_engine)), f"{runtime}, on cpu")
    assert f"on cpu with {runtime}" in printed
    assert f"on cpu with {runtime}" in as_html.read_text()
    assert "data:image/png;base64" in as_html.read_text()
    assert sorted(path.name for path in as_html.parent.iterdir()) == ["report.html", "report.json"]


def test_a_network_detects_what_its_engine_detects(fp32_engine: Path) -> None:
    engine = TRTRetinaFace(fp32_engine, "cpu")
    network = NetworkDetector(network_path(fp32_engine).read_bytes(), engine.config, engine.input_size)
    pictures = [astronaut(), np.ascontiguousarray(astronaut()[:200, 100:])]
    for ours, theirs in zip(
        network.detect(pictures, score_threshold=0.1), engine.detect(pictures, score_threshold=0.1), strict=True
    ):
        assert len(ours) >= 1
        # One picture a run or two: ONNX Runtime may add in another order.
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_missing_packages_are_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["evaluate", "agreement", "--reference", "a", "--engine", "b", "--images", str(tmp_path)]
    assert main([*arguments, "--html", str(tmp_path / "report.html")]) == 1
    assert "not installed: scipy and matplotlib. Run pip install scipy matplotlib" in capsys.readouterr().err


def test_bad_arguments_are_one_line(
    fp32_engine: Path, photos: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, labels = photos
    empty = tmp_path / "empty"
    empty.mkdir()
    engines = ["--reference", str(fp32_engine), "--engine"]
    other = tmp_path / "other.engine"
    long = str(empty / ("a" * 300))
    for arguments, code, message in (
        (["agreement", *engines, str(other), "--images", str(folder), "--html", long], 2, "File name too long"),
        (["agreement", *engines, str(fp32_engine), "--images", str(folder)], 2, "an engine is named twice"),
        (["agreement", *engines, str(other), "--images", str(folder)], 1, "the engine"),
        (["agreement", *engines, str(other), "--images", str(empty)], 2, "has no pictures"),
        (["agreement", *engines, str(other), "--images", str(folder), "--labels", "nowhere"], 2, "nowhere cannot be"),
        (["agreement", *engines, str(other), "--images", str(folder), "--json", "/proc/a.json"], 2, "cannot write"),
        (["agreement", *engines, str(other), "--images", str(folder), "--html", str(empty)], 2, "is a folder"),
        (["agreement", *engines, str(other), "--images", str(folder), "--worst", "-1"], 2, "--worst is -1"),
        (["compose", "--images", str(folder), "--labels", str(labels), "--output", str(folder)], 2, "is not empty"),
        (["compose", "--images", str(empty), "--labels", str(labels), "--output", str(empty)], 2, "has no pictures"),
    ):
        assert main(["evaluate", *arguments]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("retinaface-trt: error: ")
        assert message in line
    assert not list(empty.iterdir())
