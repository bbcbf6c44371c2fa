"""What commands say, and keep, when a disk is full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from engine.cli import main
from tests.support.data import astronaut


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be written whole."""

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "photo.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), astronaut())
    return path


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("output", ["a.json", "a.npz", "labels.jsonl", "000000.png", "photo.png"])
def test_the_file_is_named_and_keeps_its_content(
    output: str, fp16_engine: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, folder = tmp_path / "labels.jsonl", tmp_path / "output"
    folder.mkdir()
    labels.write_text(json.dumps({"image": photo.name, "faces": [{"box": [170, 60, 280, 210]}]}))
    path, engine, images = folder / output, ["--engine", str(fp16_engine), "--device", "cpu"], str(photo.parent)
    evaluation = ["evaluate", "thresholds", "--labels", str(labels), "--images", images, *engine, "--candidates"]
    compose = ["evaluate", "compose", "--labels", str(labels), "--images", images, "--output", str(folder), "--count"]
    commands = {
        "a.json": ["evaluate", "agreement", "--reference", str(_copy(fp16_engine, tmp_path)), "--images", images,
            *engine, "--json", str(path)],
        "a.npz": [*evaluation, str(path)],
        "labels.jsonl": [*compose, "0"],
        "000000.png": [*compose, "1"],
        "photo.png": ["detect", *engine, "--annotate", str(folder), str(photo)],
    }  # fmt: skip
    kept = {"a.json", "photo.png"} & {output}
    for name in kept:
        (folder / name).write_text("old")
    assert main(commands[output]) == 1
    assert f"cannot write {path}: No space left on device\n" in capsys.readouterr().err
    assert {file.name: file.read_text() for file in folder.iterdir()} == dict.fromkeys(kept, "old")


def _copy(engine: Path, folder: Path) -> Path:
    """The same engine under another path."""
    for path in engine.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / engine.name


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["doctor", "detect"])
def test_a_full_disk_behind_stdout(command: str, unbuffered: str, fp16_engine: Path, photo: Path) -> None:
    arguments = {"doctor": [], "detect": ["--engine", str(fp16_engine), "--device", "cpu", str(photo)]}[command]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine", command, *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "retinaface-trt: error: the output cannot be written: No space left on device\n"
