"""A whole run: what is checked before it begins, and what one that goes on may lack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.files import read_config
from engine.config.heads import ValueHead
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.model.weights.load import load_model
from engine.progress import Status
from engine.train import run
from engine.train.checkpoints import Checkpoint
from engine.train.distributed import Processes
from engine.train.finding.finder import Finder
from engine.train.folder import RunFolder
from engine.train.report.board import Board
from engine.train.run import Labels, TrainOptions, run_training
from tests.support.training.runs import QUICK, TINY, drawn_pictures, tiny_network


class Said(Status):
    """What a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, text: str) -> None:
        """Show nothing."""

    def keep(self, text: str) -> None:
        """Keep the line."""
        self.lines.append(text)


def train(options: TrainOptions) -> list[str]:
    """Train, and return what is said."""
    said = Said()
    run_training(options, said)
    return said.lines


def labelled(folder: Path, count: int) -> Labels:
    """Write pictures with boxes without landmarks, and first weights."""
    (folder / "pictures").mkdir(exist_ok=True)
    faces = {p.path.name: [{"box": p.boxes[0].tolist()}] for p in drawn_pictures(folder / "pictures", count)}
    lines = [json.dumps({"image": name, "faces": boxes}) for name, boxes in faces.items()]
    (folder / "labels.jsonl").write_text("\n".join(lines))
    (folder / "fewer.jsonl").write_text("\n".join(lines[:-1]))
    torch.save(tiny_network().state_dict(), folder / "first.pth")
    return Labels(folder / "labels.jsonl", folder / "pictures")


@pytest.fixture
def options(tmp_path: Path) -> TrainOptions:
    """A short run with four pictures."""
    return TrainOptions(
        labelled(tmp_path, 4),
        tmp_path / "run",
        config=TINY,
        weights=str(tmp_path / "first.pth"),
        settings=replace(QUICK, epochs=1),
        device="cpu",
    )


@contextmanager
def _a_signal() -> Iterator[list[int]]:
    yield [15]


@pytest.fixture
def stopped(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    """A run that was stopped after its first step, to go on with; its first weights serve to the end."""
    options = replace(options, settings=replace(options.settings, keep_landmarks=True, ignore_unlabelled=0.5))
    with monkeypatch.context() as patched:
        patched.setattr(run, "signals_deferred", _a_signal)
        assert train(options)[-1].startswith("stopped; the same command with --resume")
    return replace(options, resume=True)


def _write(name: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_bytes(b"")

    return write


@pytest.mark.parametrize(
    ("prepare", "resume", "expected"),
    [
        (_write("run.json"), False, "holds a run: add --resume to go on with it, or choose another folder"),
        (_write("last.pth"), False, "holds a run: add --resume"),
        (_write("model.pth"), False, r"has a model\.pth, which training would replace, but no run"),
        (_write("model.pth"), True, r"has a model\.pth, which training would replace, but no run"),
        (lambda folder: folder.write_bytes(b""), False, "cannot write to the folder .*run: File exists"),
    ],
)
def test_the_folder_is_looked_at_before_labels_and_weights(
    prepare: Callable[[Path], object], resume: bool, expected: str, options: TrainOptions
) -> None:
    prepare(options.folder)
    nothing = Labels(options.folder / "none.jsonl", options.folder)
    with pytest.raises(InvalidArgumentError, match=expected):
        train(replace(options, training=nothing, weights="none.pth", resume=resume))


def test_a_run_goes_on_without_the_file_of_its_first_weights(options: TrainOptions, stopped: TrainOptions) -> None:
    train(replace(stopped, folder=options.folder.with_name("whole"), resume=False))
    Path(str(options.weights)).unlink()
    train(stopped)
    whole = options.folder.with_name("whole") / "model.pth"
    assert (options.folder / "model.pth").read_bytes() == whole.read_bytes()


def test_a_run_that_goes_on_takes_its_first_weights_under_another_name_or_none(stopped: TrainOptions) -> None:
    given = Path(str(stopped.weights))
    for weights in (None, str(given.rename(given.with_name("moved.pth")))):
        train(replace(stopped, weights=weights))


def test_classes_are_learned_judged_and_shown(options: TrainOptions) -> None:
    config = replace(TINY, name="classes", classes=("square", "other"), class_agnostic=True)
    file = options.training.file
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["faces"][0]["class"] = config.classes[index % 2]
    file.write_text("\n".join(map(json.dumps, lines)))
    settings = replace(options.settings, keep_landmarks=True, ignore_unlabelled=0.9)
    said = train(replace(options, validation=options.training, config=config, settings=settings))
    assert "; its face is the beginning of each class, on 4 pictures with 4 faces" in said[1]
    folder = RunFolder(options.folder)
    table = Checkpoint.read(folder.last).position.records[0].classes
    assert table is not None
    assert table.names == config.classes
    assert [sum(found) + missed for found, missed in zip(table.found, table.missed, strict=True)] == [2, 2]
    assert "<th>found as square</th>" in folder.page.read_text()
    assert read_config(folder.config) == config
    trained, _ = load_model(config, str(folder.model))
    assert trained.head("logits", 0).conv1x1.out_channels == 6
    with pytest.raises(InvalidArgumentError, match="class 'square' is not of the model, whose config has round, other"):
        train(replace(options, folder=options.folder / "b", config=replace(config, classes=("round", "other"))))


def test_other_points_are_learned(options: TrainOptions) -> None:
    config = replace(TINY, name="points", mirrored_points=(1, 0, 2))
    lines = [json.loads(line) for line in options.training.file.read_text().splitlines()]
    for line in lines:
        x1, y1, x2, y2 = line["faces"][0]["box"]
        line["faces"][0]["landmarks"] = [[x1, y1], [x2, y1], [(x1 + x2) / 2, y2]]
    options.training.file.write_text("\n".join(map(json.dumps, lines)))
    said = train(replace(options, config=config))
    assert "; the heads of 3 points are random, as it has 5, on 4 pictures" in said[0]
    folder = RunFolder(options.folder)
    sums = Checkpoint.read(folder.last).position.records[0].losses
    assert sums["landmarks"] > 0
    trained, _ = load_model(config, str(folder.model))
    assert trained.head("landmark_deltas", 0).conv1x1.out_channels == 12


def test_plain_values_are_learned_and_not_mirrored(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some faces lack some of them."""
    monkeypatch.delattr("engine.train.samples.scene.Scene.mirrored")
    config = replace(TINY, name="values", values=(ValueHead("age", 1), ValueHead("pose", 3)))
    lines = [json.loads(line) for line in options.training.file.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["faces"][0]["values"] = {"pose": [index, 0, 1], **({"age": [30]} if index % 2 else {})}
    options.training.file.write_text("\n".join(map(json.dumps, lines)))
    settings = replace(options.settings, ignore_unlabelled=0.9)
    said = train(replace(options, config=config, settings=settings))
    assert any("; its heads of age, pose are random, on 4 pictures" in line for line in said)
    folder = RunFolder(options.folder)
    losses = Checkpoint.read(folder.last).position.records[0].losses
    assert losses["values"] > 1  # an age of 30 is far from what random heads say
    trained, _ = load_model(config, str(folder.model))
    assert trained.head("pose", 0).conv1x1.out_channels == 6


def test_errors_of_points_and_values_are_shown(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each face is found as it is labelled, but for points that are 3 pixels off and ages that are 2 off."""
    lines = [json.loads(line) for line in options.training.file.read_text().splitlines()]
    found = []
    for line in lines:
        (labelled,) = line["faces"]
        labelled |= {"box": [0, 0, 30, 30], "landmarks": [[5, 6]] * 5, "values": {"age": [30]}}
        values = {"age": [[32]], "pose": [[0, 0, 0]]}
        found.append(Detections([labelled["box"]], [0.9], [[[5, 9]] * 5], values=values))
    lines[0]["faces"][0]["values"]["pose"] = [9, 9, 9]
    training = options.training.file.with_name("training.jsonl")
    training.write_text("\n".join(map(json.dumps, lines)))
    del lines[0]["faces"][0]["values"]["pose"], lines[0]["faces"][0]["landmarks"]
    options.training.file.write_text("\n".join(map(json.dumps, lines)))
    shown: dict[str, float | None] = {}
    monkeypatch.setattr(Finder, "find", lambda *_: found)
    monkeypatch.setattr(Board, "add", lambda _, values, step: shown.update(values))
    config = replace(TINY, name="values", values=(ValueHead("age", 1), ValueHead("pose", 3)))
    learned = Labels(training, options.training.pictures)
    said = train(replace(options, training=learned, validation=options.training, config=config))
    assert said[-1].endswith("; average precision 1.0000; error of landmarks 0.1; error of age 2")
    assert {name: shown.get(f"error/{name}") for name in ("landmarks", "age", "pose")} == {
        "landmarks": pytest.approx(0.1), "age": 2, "pose": None,
    }  # fmt: skip
    folder = RunFolder(options.folder)
    errors = Checkpoint.read(folder.last).position.records[0].head_errors
    assert errors is not None
    assert (errors.known["landmarks"].count, errors.values["pose"]) == (3, None)
    page = folder.page.read_text()
    assert "<tr><th>epoch</th><th>landmarks</th><th>age</th></tr>" in page
    assert "<tr><td>1</td><td>0.1 / 0.1 of 3 faces</td><td>2 / 2 of 4 faces</td></tr>" in page


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ({"mirrored_points": (1, 0)}, "2 points, but no face of the labels .* has them: give"),
        ({"values": (ValueHead("age", 1),)}, r"a head 'age', but no face of the labels .* has values for it"),
    ],
)
def test_heads_that_labels_cannot_teach_are_refused(
    options: TrainOptions, heads: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"config tiny has {expected}"):
        train(replace(options, config=replace(TINY, **heads)))
    assert not (options.folder / "last.pth").exists()


def test_where_a_run_goes_on_is_decided_by_the_first_process(
    stopped: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder of this process's machine holds: here nothing."""
    checkpoint, elsewhere = Checkpoint.read(stopped.folder / "last.pth"), stopped.folder.with_name("elsewhere")
    train(stopped)
    elsewhere.mkdir()
    monkeypatch.setattr(Processes, "of_first", lambda self, make: checkpoint)
    train(replace(stopped, folder=elsewhere))
    assert (elsewhere / "model.pth").read_bytes() == (stopped.folder / "model.pth").read_bytes()


def _others(options: TrainOptions) -> dict[str, tuple[dict[str, Any], str]]:
    folder = options.folder.parent
    other = {name: value + 1 for name, value in tiny_network().state_dict().items()}
    torch.save(other, folder / "other.pth")
    digest = r" \(SHA-256 [0-9a-f]{12}\.\.\.\)"
    fewer = Labels(folder / "fewer.jsonl", folder / "pictures")
    first = rf"began with --weights \S*first\.pth{digest}, and is given"
    return {
        "weights": ({"weights": str(folder / "other.pth")}, rf"{first} --weights \S*other\.pth{digest}: give the same"),
        "random": ({"weights": "random"}, f"{first} --weights random: "),
        "a missing file": ({"weights": "none.pth"}, rf"{first} --weights none\.pth: "),
        "a backbone": (
            {"weights": None, "backbone": options.weights},
            rf"{first} --backbone-weights \S*first\.pth{digest}: ",
        ),
        "labels": (
            {"training": fewer},
            rf"began with the training labels \S*labels\.jsonl{digest}, and is given the training labels "
            rf"\S*fewer\.jsonl{digest}",
        ),
        "validation": ({"validation": fewer}, r"the validation labels none, .* the validation labels \S*fewer\.jsonl"),
        "config": (
            {"config": replace(TINY, fpn_channels=16)},
            r"made with config\.fpn_channels 8, this run has 16",
        ),
        "anchors": ({"fit_anchors": True, "settings": replace(options.settings, keep_landmarks=False)}, "fit anchors"),
    }


def test_a_run_that_goes_on_refuses_what_it_did_not_begin_with(stopped: TrainOptions) -> None:
    before = (stopped.folder / "last.pth").read_bytes()
    for what, (changes, expected) in _others(stopped).items():
        with pytest.raises(InvalidArgumentError, match=expected):
            train(replace(stopped, **changes))
        assert (stopped.folder / "last.pth").read_bytes() == before, what
