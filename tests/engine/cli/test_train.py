"""`retinaface-trt train` in this process, with the smallest network."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from engine.cli import main
from engine.config.files import find_config
from engine.model.weights.load import load_model
from engine.train.folder import RunFolder
from engine.train.run import Outcome, TrainOptions
from tests.support.training.runs import SIDE, TINY, drawn_pictures


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command for four pictures, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # which would hold for the tests behind this one
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = [
        json.dumps(
            {"image": p.path.name, "faces": [{"box": p.boxes[0].tolist(), "landmarks": p.landmarks[0].tolist()}]}
        )
        for p in drawn_pictures(folder, 4)
    ]
    Path("labels.jsonl").write_text("\n".join(lines) + "\n")
    Path("tiny.json").write_text(json.dumps(TINY.to_dict()))
    labels = ["--labels", "labels.jsonl", "--images", "pictures", "--val-labels", "labels.jsonl"]
    settings = ["--size", str(SIDE), "--epochs", "2", "--batch", "2", "--threads", "1", "--device", "cpu"]
    return ["train", *labels, "--config", "tiny.json", "--weights", "random", *settings, "--output", "run"]


def test_a_run_writes_what_build_takes_and_can_be_resumed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--anchors", "auto"]) == 0
    printed = capsys.readouterr()
    assert "build with: retinaface-trt build --config run/config.json --weights run/model.pth" in printed.out
    assert "on 4 pictures with 4 faces; judged on 4 pictures with 4 faces" in printed.err
    assert "epoch 2/2: total " in printed.err
    assert "faces that an anchor overlaps, before -> after:" in printed.err
    config = find_config("run/config.json")
    assert [level.stride for level in config.levels] == [level.stride for level in TINY.levels]
    load_model(config, "run/model.pth")
    about = json.loads(Path("run/run.json").read_text())
    assert about["batch"] == 2
    assert about["versions"]["torch"] == version("torch")  # without the "+cpu" of torch.__version__
    assert about["training"]["name"] == "labels.jsonl"
    assert len(about["training"]["sha256"]) == 64
    assert about["weights"] == {"name": "random", "sha256": None}
    page = Path("run/index.html").read_text()
    assert page.count("<img") == 2 + 4 + 4
    assert "Average precision on the validation labels" in page
    assert list(Path("run/tensorboard").glob("events.out.tfevents.*"))

    assert main([*arguments, "--anchors", "auto"]) == 2
    assert "the folder run holds a run: add --resume to go on with it" in capsys.readouterr().err
    assert main([*arguments, "--anchors", "auto", "--resume", "--batch", "4"]) == 2
    assert "last.pth was made with batch 2, this run has 4: give the same to go on" in capsys.readouterr().err
    before = Path("run/model.pth").read_bytes()
    assert main([*arguments, "--anchors", "auto", "--resume"]) == 0
    assert Path("run/model.pth").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], (1e-3, 50, 200)),
        (["--precision", "int8"], (5e-4, 5, 50)),
        (["--precision", "int8", "--learning-rate", "0.1", "--warm-up", "0"], (0.1, 5, 0)),
    ],
)
def test_int8_has_defaults_of_its_own(
    given: list[str],
    expected: tuple[float, int, int],
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[TrainOptions] = []

    def run_training(options: TrainOptions, status: object) -> Outcome:
        seen.append(options)
        return Outcome(RunFolder(options.folder), True, None)

    monkeypatch.setattr("engine.train.run.run_training", run_training)
    without_epochs = [word for i, word in enumerate(arguments) if "--epochs" not in arguments[max(0, i - 1) : i + 1]]
    assert main([*without_epochs, *given]) == 0
    settings, printed = seen[0].settings, capsys.readouterr().out
    assert (settings.learning_rate, settings.epochs, settings.warm_up) == expected
    assert (" --precision int8 --calib-cache run/int8.npz" in printed) == bool(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--freeze", "stage9"], "cannot freeze 'stage9' of tiny, expected one of: none, stem, stage1"),
        (["--size", "100"], "training: size is 100, expected a multiple of 32"),
        (["--batch", "5"], "there are 4 pictures to train on, fewer than the batch of 5"),
        (["--workers", "-1"], "--workers is -1, expected 0 to 256"),
        (["--weights", "random", "--backbone-weights", "a.pth"], "are given: the first ones have a body too"),
        (["--precision", "int8", "--freeze", "body"], "--precision int8 trains what was fine-tuned before: leave out"),
        (["--device", "tpu"], "device is 'tpu', expected auto, cpu, cuda, cuda:N"),
    ],
)
def test_wrong_arguments_end_in_one_line(
    given: list[str], said: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *given]) == 2
    assert said in capsys.readouterr().err
    assert not Path("run/run.json").exists()


def test_only_some_epochs_are_judged_with_a_teacher_and_a_published_loss(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in Path("labels.jsonl").read_text().splitlines()]
    for line in lines:
        line["faces"][0]["landmarks"] = None
    Path("labels.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    options = ["--keep-landmarks", "--ignore-unlabelled", "0.3", "--judge-every", "2", "--loss", "upstream"]
    assert main([*arguments, *options, "--epochs", "3"]) == 0
    printed = capsys.readouterr().err
    assert "faces that the first weights find have no label and are ignored" in printed
    judged = ["average precision" in line for line in printed.splitlines() if line.startswith("epoch ")]
    assert judged == [False, True, True]
    about = json.loads(Path("run/run.json").read_text())
    assert about["loss"]["box_weight"] == 2.0
    assert about["keep_landmarks"]
    assert Path("run/index.html").read_text().count("<img") == 2 + 4 + 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--anchors", "auto"], "does not go with --anchors auto"), (["--config", "tiny.json"], "has no landmarks")],
)
def test_landmarks_that_nobody_can_teach_are_refused(
    arguments: list[str], options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--config" in options:
        Path("tiny.json").write_text(json.dumps(replace(TINY, heads=("class", "box")).to_dict()))
    assert main([*arguments, "--keep-landmarks", *options]) == 2
    assert reason in capsys.readouterr().err
