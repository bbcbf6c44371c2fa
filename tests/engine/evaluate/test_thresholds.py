"""The sweep over thresholds: against a plain implementation, from an engine's candidates, and its refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import EvaluationError, InvalidArgumentError, TRTRetinaFace
from engine.cli import main
from engine.evaluate.sweep import candidates as candidates_module
from engine.evaluate.sweep.candidates import Candidates, collect
from engine.evaluate.sweep.thresholds import Grid, Labels, Row, Suppression, best, sweep
from engine.faces import Detections
from engine.metrics.matching import box_iou, take_greedily
from engine.runtime.cpu.session import CpuSession
from engine.types import FloatArray
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.oracles import thresholds as oracle

GRID = Grid(iou=(0.0, 0.3, 0.5, 1.0), score=(0.1, 0.35, 0.6, 0.95), top_k=(5, 40, 5000), keep_top_k=(1, 4, 750))


@pytest.fixture
def random_set(rng: np.random.Generator) -> tuple[Candidates, Labels]:
    """Clusters of candidates around faces; one image without faces, one without candidates."""
    boxes: dict[str, FloatArray] = {}
    scores: dict[str, FloatArray] = {}
    labels: dict[str, NDArray[np.float64]] = {}
    for i, (count, faces) in enumerate([(60, 5), (30, 0), (0, 3), (80, 2), (1, 1)]):
        corners = rng.uniform(0, 300, (faces, 2))
        labels[f"{i}.jpg"] = np.concatenate([corners, corners + rng.uniform(20, 90, (faces, 2))], 1)
        base = labels[f"{i}.jpg"][rng.integers(0, faces, count)] if faces else rng.uniform(0, 50, (count, 4))
        moved = base + rng.normal(0, 12, (count, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        boxes[f"{i}.jpg"] = moved.astype(np.float32)
        scores[f"{i}.jpg"] = np.sort(rng.uniform(0.1, 1, count).astype(np.float32))[::-1].copy()
    digests = {name: f"digest of {name}" for name in boxes}
    return Candidates(boxes, scores, digests, "digest", 0.1, enlarge=True), labels


def test_every_row_equals_the_plain_implementation(random_set: tuple[Candidates, Labels]) -> None:
    candidates, labels = random_set
    rows = sweep(candidates, labels, GRID)
    assert len(rows) == 4 * 4 * 3 * 3
    assert len({(row.suppression, row.score_threshold) for row in rows}) == len(rows)
    faces = sum(map(len, labels.values()))
    for row in rows:
        s = row.suppression
        expected = oracle.count(
            list(candidates.boxes.values()),
            list(candidates.scores.values()),
            list(labels.values()),
            oracle.Setting(s.iou, row.score_threshold, s.top_k, s.keep_top_k, GRID.match_iou),
        )
        assert (row.hits, row.detections) == expected
        assert row.recall == pytest.approx(expected.hits / faces)
        if expected.detections:
            precision = expected.hits / expected.detections
            assert row.precision == pytest.approx(precision)
            harmonic = 2 * precision * row.recall / (precision + row.recall) if expected.hits else 0
            assert row.f1 == pytest.approx(harmonic)
    assert best(rows).f1 == max(row.f1 for row in rows)


def test_nothing_detected_is_precise_and_finds_nothing(random_set: tuple[Candidates, Labels]) -> None:
    (row,) = sweep(*random_set, Grid(iou=(0.4,), score=(1.0,)))
    assert (row.precision, row.recall, row.f1, row.hits, row.detections) == (1, 0, 0, 0, 0)


def test_scores_lie_above_the_threshold_not_at_it() -> None:
    scores = np.array([0.75, 0.7, 0.5], np.float32)
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], np.float32)
    labels = {"a": boxes.astype(np.float64)}
    for threshold, hits in ((0.75, 0), (0.7, 1), (0.5, 2), (0.49, 3)):
        candidates = Candidates({"a": boxes}, {"a": scores}, {"a": ""}, "", 0.02, enlarge=False)
        (row,) = sweep(candidates, labels, Grid(iou=(0.4,), score=(threshold,)))
        assert row.hits == hits == len(Detections(boxes, scores, None).above(threshold))


def test_matching_by_hand() -> None:
    faces = np.array([[0, 0, 10, 10], [8, 0, 18, 10.0]])
    # The best box takes the first face. The next box overlaps that face most, and the other one too little.
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [8, 0, 18, 10], [50, 0, 60, 10]], np.float32)
    assert take_greedily(box_iou(boxes, faces), 0.5).tolist() == [0, -1, 1, -1]
    assert take_greedily(box_iou(boxes, faces), 0.15).tolist() == [0, 1, -1, -1]
    # The first box matches both faces, and takes the one of larger IoU.
    near = np.array([[3, 0, 13, 10], [0, 0, 10, 10]], np.float32)
    assert take_greedily(box_iou(near, np.array([[0, 0, 10, 10], [4, 0, 14, 10.0]])), 0.5).tolist() == [1, 0]
    assert take_greedily(box_iou(boxes, faces[:0]), 0.5).tolist() == [-1] * 4
    assert take_greedily(box_iou(boxes[:0], faces), 0.5).tolist() == []


def test_candidates_are_the_input_of_the_suppression(ranged_engine: Path, picture: Path) -> None:
    found = collect(ranged_engine, {"a": picture, "b": picture}, device="cpu")
    assert found.boxes["a"].shape[0] > 5
    assert np.array_equal(found.boxes["a"], found.boxes["b"])
    assert (np.diff(found.scores["a"]) <= 0).all()
    detector = TRTRetinaFace(ranged_engine, "cpu", score_threshold=0.02)
    image = cv2.imread(str(picture))
    assert image is not None
    faces = detector.detect(np.asarray(image, np.uint8))
    (row,) = sweep(found, {"a": faces.boxes.astype(np.float64)}, Grid(iou=(0.4,), score=(0.02,), match_iou=0.99))
    assert row.hits == row.detections == len(faces)


def test_a_gpu_must_run_an_engine_that_suppresses_nothing(
    ranged_engine: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnDevice(CpuSession):
        def __init__(self, files: Any) -> None:
            super().__init__(files)
            self.device = "cuda:0"

    monkeypatch.setattr(candidates_module, "open_session", lambda files, *_: (OnDevice(files), None))
    with pytest.raises(
        InvalidArgumentError, match=r"suppresses candidates on the GPU.*--device cpu.*--iou-threshold 1"
    ):
        collect(ranged_engine, {"a": picture})


def test_candidates_are_stored_whole(random_set: tuple[Candidates, Labels], tmp_path: Path) -> None:
    candidates, _ = random_set
    path = tmp_path / "c.npz"
    candidates.save(path)
    read = Candidates.load(path)
    assert list(read.boxes) == list(candidates.boxes)
    for name in candidates.boxes:
        assert np.array_equal(read.boxes[name], candidates.boxes[name])
        assert np.array_equal(read.scores[name], candidates.scores[name])
    assert (read.engine_sha256, read.score_threshold, read.enlarge) == ("digest", 0.1, True)
    assert read.image_sha256 == candidates.image_sha256
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EvaluationError, match=r"c\.npz does not hold stored candidates .*: remove it and rerun"):
        Candidates.load(path)
    np.savez(path, names=np.zeros(3))
    with pytest.raises(EvaluationError, match="does not hold stored candidates"):
        Candidates.load(path)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("boxes", lambda a: a.astype(np.float64), "boxes has dtype float64"),
        ("boxes", lambda a: a.astype("U9"), "boxes has dtype <U9"),
        ("boxes", lambda a: a[:, :3], r"boxes has shape \(171, 3\), expected \(171, 4\)"),
        ("boxes", lambda a: a * np.nan, "a value is not finite"),
        ("scores", lambda a: a.astype(np.complex64), "scores has dtype complex64"),
        ("scores", lambda a: a[:-1], r"scores has shape \(170,\)"),
        ("scores", lambda a: a * np.inf, "a value is not finite"),
        ("scores", lambda a: a[::-1], "its scores do not descend"),
        ("counts", lambda a: a.astype(np.float64), "counts has dtype float64"),
        ("counts", lambda a: a[None], "names has shape"),
        ("counts", lambda a: a + np.array([1, 0, 0, -1, 0]) * 100, "counts of its images are wrong"),
        ("names", lambda a: np.arange(5), "names has dtype int64"),
        ("names", lambda a: a[[0, 1, 2, 3, 0]], "counts of its images are wrong"),
        ("image_sha256", lambda a: a[:2], "image_sha256 has shape"),
        ("engine_sha256", lambda a: np.array([a, a]), r"engine_sha256 has shape \(2,\)"),
        ("score_threshold", lambda a: a * np.nan, "a value is not finite"),
        ("enlarge", lambda a: np.array(2), "enlarge has dtype int64"),
    ],
)
def test_stored_arrays_of_other_kinds_are_refused(
    random_set: tuple[Candidates, Labels], tmp_path: Path, name: str, spoil: Any, message: str
) -> None:
    path = tmp_path / "c.npz"
    random_set[0].save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = spoil(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(EvaluationError, match=rf"c\.npz does not hold stored candidates \(.*{message}"):
        Candidates.load(path)


def test_empty_and_incomplete_sets_are_errors(random_set: tuple[Candidates, Labels]) -> None:
    candidates, labels = random_set
    with pytest.raises(EvaluationError, match=r"1 labelled images have no stored candidates, the first is new\.jpg"):
        sweep(candidates, {**labels, "new.jpg": np.zeros((1, 4))}, GRID)
    with pytest.raises(EvaluationError, match="labels have no faces"):
        sweep(candidates, {"1.jpg": labels["1.jpg"]}, GRID)
    with pytest.raises(InvalidArgumentError, match=r"start at 0.05, but candidates are stored only above 0.1"):
        sweep(candidates, labels, replace(GRID, score=(0.5, 0.05)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iou": ()}, r"iou is \[\], expected values from 0 to 1"),
        ({"iou": (1.5,)}, r"iou is \[1.5\]"),
        ({"score": (float("nan"),)}, r"score is \[nan\]"),
        ({"top_k": (0,)}, r"top_k is \[0\], expected values from 1 to 5000"),
        ({"keep_top_k": (5001,)}, r"keep_top_k is \[5001\]"),
        ({"match_iou": 0.0}, "match_iou is 0.0"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Grid(**values)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), astronaut())
    return path


def test_the_command_runs_the_network_once(
    ranged_engine: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text(
        json.dumps({"image": f"elsewhere/{picture.name}", "faces": [{"box": ASTRONAUT_FACE.tolist()}]}) + "\n"
    )
    files = {
        "labels": labels,
        "candidates": tmp_path / "c.npz",
        "json": tmp_path / "t.json",
        "plot": tmp_path / "t.svg",
    }
    arguments = ["evaluate", "thresholds", *(word for k, v in files.items() for word in (f"--{k}", str(v)))]
    assert main(arguments) == 2
    assert "does not exist: give --engine" in capsys.readouterr().err
    arguments += ["--engine", str(ranged_engine), "--images", str(tmp_path), "--device", "cpu"]
    assert main([*arguments, "--score-threshold", "0.9", "0.5"]) == 0
    written = json.loads(files["json"].read_text())
    assert [row["score_threshold"] for row in written["rows"]] == [0.5, 0.9] * 4
    expected = {"iou": 0.3, "top_k": 5000, "keep_top_k": 750, "score_threshold": 0.5, "precision": 1, "recall": 1}
    assert written["best"] == {**expected, "f1": 1, "hits": 1, "detections": 1}
    assert "<svg" in files["plot"].read_text()
    assert "best by F1" in capsys.readouterr().out

    monkeypatch.setattr(CpuSession, "run", None)  # from here on the network must not run
    assert main([*arguments, "--iou-threshold", "0.5", "--top-k", "10", "--keep-top-k", "2"]) == 0
    assert len(json.loads(files["json"].read_text())["rows"]) == 49
    assert main([*arguments, "--enlarge"]) == 1
    assert (
        "c.npz holds candidates that were found without --enlarge: name another file, or remove it"
        in capsys.readouterr().err
    )
    content = picture.read_bytes()
    picture.write_bytes(content + b"0")
    assert main(arguments) == 1
    assert f"c.npz holds candidates of another picture than {picture}" in capsys.readouterr().err
    without_engine = arguments[: arguments.index("--engine")]
    assert main([*without_engine, "--images", str(tmp_path)]) == 1
    assert "of another picture" in capsys.readouterr().err
    assert main([*without_engine, "--enlarge"]) == 1
    assert "without --enlarge" in capsys.readouterr().err
    # Stored candidates are enough: without an engine, and if pictures are gone.
    assert main(without_engine) == 0
    picture.unlink()
    assert main(arguments) == 0
    other = tmp_path / "other.engine"
    arguments[arguments.index(str(ranged_engine))] = str(other)
    capsys.readouterr()
    assert main(arguments) == 1
    assert f"error: the engine {other} cannot be read: No such file or directory" in capsys.readouterr().err
    other.write_bytes(b"another")
    assert main(arguments) == 1
    assert "holds candidates of another engine" in capsys.readouterr().err


def test_pictures_that_are_missing_or_damaged_are_named(
    ranged_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"image": "x.png", "faces": [{"box": [1, 2, 3, 4]}]}\n')
    arguments = ["--labels", labels, "--candidates", tmp_path / "c.npz", "--engine", ranged_engine, "--device", "cpu"]
    command = ["evaluate", "thresholds", *map(str, arguments), "--images", str(tmp_path)]
    assert main(command) == 1
    assert "1 of 1 pictures are missing, the first is" in capsys.readouterr().err
    (tmp_path / "x.png").write_bytes(b"no picture")
    assert main(command) == 1
    assert "x.png is not a picture" in capsys.readouterr().err
    assert not (tmp_path / "c.npz").exists()


def test_rows_become_flat_json() -> None:
    row = Row(Suppression(0.4, 5000, 750), 0.5, 0.25, 0.5, 1 / 3, 1, 4)
    assert row.to_dict() == {
        **{"iou": 0.4, "top_k": 5000, "keep_top_k": 750, "score_threshold": 0.5},
        **{"precision": 0.25, "recall": 0.5, "f1": 1 / 3, "hits": 1, "detections": 4},
    }
