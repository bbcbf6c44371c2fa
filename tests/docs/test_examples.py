"""Every example runs as its first lines say, and prints what it should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.mesh.dense.run import DenseDecoder
from engine.mesh.dense.source import MeshOptions
from engine.mesh.obj import read_obj
from tests.docs.conftest import ROOT
from tests.engine.mesh.meshes import mask, write_obj
from tests.support.data import ASTRONAUT_FACE, astronaut, read_image
from tests.support.engines import build
from tests.support.oracles.boxes import iou

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RAY_TESTS = ROOT / "tests" / "ray" / "test_examples.py"  # in an environment with Ray


def run(example: str, *arguments: object, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, as a user does."""
    command = [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]
    # No GPU is asked for: what runs here does not depend on the machine.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def test_every_example_is_tested_and_says_how_it_is_started() -> None:
    tests = Path(__file__).read_text() + RAY_TESTS.read_text()
    for example in EXAMPLES:
        assert f'run("{example.name}"' in tests
        assert f"Usage: python examples/{example.name}" in example.read_text()
        assert f"examples/{example.name}" in (ROOT / "README.md").read_text()


def test_detect_photo(reader_engine: Path, photos: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.png"
    done = run("detect_photo.py", reader_engine, photos / "face.png", marked)
    (line,) = done.stdout.splitlines()
    score, *box = (float(number) for number in re.findall(r"\d+\.\d+", line))
    assert score > 0.9
    assert iou(np.array(box), ASTRONAUT_FACE) > 0.6  # the labelled box is by hand
    changed = np.any(read_image(marked) != astronaut(), axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    frame = np.array([columns[0], rows[0], columns[-1], rows[-1]])
    assert np.abs(frame - box)[[0, 2, 3]].max() <= 3  # half the line's width, and rounding
    assert -25 < frame[1] - box[1] <= 3  # the score stands above the box


def test_detect_photo_names_what_it_cannot_read(reader_engine: Path, tmp_path: Path) -> None:
    done = run("detect_photo.py", reader_engine, tmp_path / "none.png", tmp_path / "marked.png", expected=2)
    assert "cannot read the picture" in done.stderr
    assert not (tmp_path / "marked.png").exists()


def test_detect_folder(reader_engine: Path, photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    # One more than a batch of the engine holds, and a file that is no picture.
    for i in range(2):
        (tmp_path / f"more{i}.png").write_bytes((photos / "face.png").read_bytes())
    (tmp_path / "notes.txt").write_text("no picture")
    done = run("detect_folder.py", reader_engine, tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(Path(line["image"]).name, len(line["faces"])) for line in lines] == [
        ("face.png", 1),
        ("mirrored.png", 1),
        ("more0.png", 1),
        ("more1.png", 1),
        ("without.png", 0),
    ]
    assert iou(np.array(lines[0]["faces"][0]["box"]), ASTRONAUT_FACE) > 0.6
    width = astronaut().shape[1]
    mirrored = np.array(lines[1]["faces"][0]["box"])
    assert iou(np.array([width - mirrored[2], mirrored[1], width - mirrored[0], mirrored[3]]), ASTRONAUT_FACE) > 0.6
    assert [line for line in done.stderr.splitlines() if "skipped" in line] == [
        f"skipped, not a readable picture: {tmp_path / 'notes.txt'}"
    ]


def test_align_faces(reader_engine: Path, photos: Path, tmp_path: Path) -> None:
    """Two faces side by side: the second picture is the first one's mirror image, and so are the crops."""
    sheet = tmp_path / "sheet.png"
    done = run("align_faces.py", reader_engine, photos, sheet)
    assert done.stdout.splitlines() == ["1 faces in face.png", "1 faces in mirrored.png", "0 faces in without.png"]
    left, right = np.split(read_image(sheet).astype(float), 2, axis=1)
    assert left.shape == (112, 112, 3)
    assert left.std() > 30
    # The landmarks are found in each picture by itself, to about a pixel.
    assert abs(left - right[:, ::-1]).mean() < 12
    assert abs(left - right).mean() > 20


def test_batch_service(reader_engine: Path, photos: Path) -> None:
    done = run("batch_service.py", reader_engine, photos / "face.png", "--callers", 6, "--requests", 3)
    answers = [re.fullmatch(r"1 faces after \d+ ms, in a batch of (\d+)", line) for line in done.stdout.splitlines()]
    assert len(answers) == 18
    sizes = [int(answer[1]) for answer in answers if answer]
    assert len(sizes) == 18
    assert max(sizes) in (2, 3, 4)  # gathered, and no more than the engine takes


def test_custom_operator() -> None:
    """The anchor of 96 pixels around (48, 80), of an image that is scaled by .64 and padded by 32 rows above."""
    done = run("custom_operator.py")
    score = 1 / (1 + np.exp(-4.0))
    box = ((np.array([0, 32, 96, 128]) - [0, 32, 0, 32]) / 0.64).tolist()
    assert done.stdout.splitlines() == [
        "2 candidates, 1 face",
        f"score {score:.3f}, box in the image {box}",
    ]


@pytest.mark.slow
def test_fine_tune_masks(tmp_path: Path) -> None:
    """One epoch of each kind; the engines find the face before and after."""
    photos = tmp_path / "photos"
    photos.mkdir()
    box = (np.asarray(ASTRONAUT_FACE) - [100, 0, 100, 0]).tolist()
    lines = []
    for i in range(20):
        cv2.imwrite(str(photos / f"{i}.jpg"), cv2.convertScaleAbs(astronaut()[:256, 100:356], alpha=1 - i / 99))
        lines.append(json.dumps({"image": f"{i}.jpg", "faces": [{"box": box}]}))
    train, val, results = tmp_path / "train.jsonl", tmp_path / "val.jsonl", tmp_path / "run"
    train.write_text("\n".join(lines[:19]))
    val.write_text(lines[19])
    options = ["--weights", "mobilenet0.25", "--epochs", 1, 1, "--precision", "fp16"]
    done = run("fine_tune_masks.py", photos, train, val, results, *options)
    assert "0 faces that the first weights find have no label" in done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines() if line.startswith("$")] == [
        *["train"] * 2,
        *["build", "build", "evaluate"] * 2,
    ]
    assert len(re.findall(r"AP against 1 labels \(reference 1\.0+\): .* +1\.0+: \+0\.0+ ", done.stdout)) == 2
    assert (results / "all" / "index.html").exists()


@pytest.fixture(scope="module")
def dense_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What dense_faces.py prints and writes: two steps on a small mesh."""
    folder = tmp_path_factory.mktemp("dense")
    options = ["--steps", 2, "--batch", 3, "--judged", 4]
    return run("dense_faces.py", write_obj(folder, mask(10, 8)), folder / "run", *options).stdout, folder / "run"


def test_dense_faces(dense_run: tuple[str, Path]) -> None:
    """The curve, the pictures, and a decoder that loads."""
    printed, results = dense_run
    errors = [re.match(r"step (\d): mean vertex error ([\d.]+)% of the face", line) for line in printed.splitlines()]
    assert [error[1] for error in errors if error] == ["0", "1", "2"]
    curve = (results / "curve.csv").read_text().splitlines()
    assert curve[0] == "step,error"
    kept = [100 * float(line.split(",")[1]) for line in curve[1:]]
    assert kept == pytest.approx([float(error[2]) for error in errors if error], abs=0.011)  # both are rounded
    assert read_image(results / "faces.png").shape == (2 * 3 * 96, 6 * 3 * 96, 3)
    assert (results / "curve.png").exists()
    meshes = DenseDecoder.load(results / "dense.npz").decode(
        np.zeros((1, 144), np.float32), np.ones((1, 4), np.float32)
    )
    assert meshes.vertices.shape == (1, 80, 3)


def test_dense_photos(dense_run: tuple[str, Path], reader_engine: Path, photos: Path, tmp_path: Path) -> None:
    """One step: both losses, the pictures, and a decoder that loads."""
    options = ["--steps", 1, "--batch", 2, "--points", 12, 12, 17, 17, 34, 35, 52, 52, 57, 57]
    results = tmp_path / "results"
    done = run("dense_photos.py", dense_run[1], reader_engine, photos, results, *options)
    lines = done.stdout.splitlines()
    assert lines[0] == "1 faces to learn from, 1 held out"
    (before,), (after,) = (re.findall(r": pixel loss ([\d.]+), landmarks ([\d.]+)%", line) for line in lines[1:])
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert read_image(results / "photos.png").shape == (5 * 192, 192, 3)
    assert DenseDecoder.load(results / "dense.npz").triangles.shape == (126, 3)


@pytest.mark.slow
def test_dense_detect(dense_run: tuple[str, Path], photos: Path, tmp_path: Path) -> None:
    """An engine of what dense_faces.py writes: its pictures have one face, and the photo gets a mesh and its file."""
    run_folder, engine = dense_run[1], tmp_path / "dense.engine"
    build(
        engine,
        config=run_folder / "config.json",
        weights=str(run_folder / "weights.pth"),
        precision="fp32",
        meshes=MeshOptions(run_folder / "dense.npz", 3, colours=True),
    )
    marked, best = tmp_path / "marked.png", tmp_path / "best.obj"
    done = run("dense_detect.py", engine, photos / "face.png", marked, best, "--score-threshold", 0.02)
    assert re.fullmatch(r"[123] meshes of 80 vertices\n", done.stdout)
    assert np.any(read_image(marked) != astronaut())
    assert all(len(line.split()) == 7 for line in best.read_text().splitlines() if line.startswith("v "))
    topology = read_obj(best)
    assert (len(topology.vertices), len(topology.triangles)) == (80, 126)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_explain_their_options(example: Path) -> None:
    if "argparse" in example.read_text() and not example.name.startswith("ray_"):
        assert "usage: " in run(example.name, "--help").stdout
