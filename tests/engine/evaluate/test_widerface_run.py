"""`evaluate widerface` from images to results: scale rules, resuming, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engine import InvalidArgumentError, TRTRetinaFace
from engine.cli import main
from engine.config.presets import PRESETS, preset
from engine.evaluate.widerface.files import SUBSETS, GroundTruth
from engine.evaluate.widerface.run import SCALE_RULES, predict, run_path
from engine.faces import Detections
from engine.runtime.letterbox import Letterbox
from engine.runtime.timing import Stopwatch
from engine.types import Image, RawDetections
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.widerface_cases import write_mat, write_truth

Command = Callable[..., int]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images with one face each, and their ground truth, in a folder each."""
    image = astronaut()
    flipped = np.ascontiguousarray(image[:, ::-1])
    half = np.asarray(cv2.resize(image, (256, 256)), np.uint8)
    x1, y1, x2, y2 = ASTRONAUT_FACE
    faces = {
        "0--Space/a": (image, [x1, y1, x2 - x1, y2 - y1]),
        "0--Space/b": (flipped, [512 - x2, y1, x2 - x1, y2 - y1]),
        "1--Small/c": (half, [x1 / 2, y1 / 2, (x2 - x1) / 2, (y2 - y1) / 2]),
    }
    for name, (picture, _) in faces.items():
        path = tmp_path / "root" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    counts = (np.array([True]),) * 3
    boxes = tuple(np.array([box]) for _, box in faces.values())
    write_truth(tmp_path / "truth", GroundTruth(tuple(faces), boxes, dict.fromkeys(SUBSETS, counts)))
    return tmp_path


@pytest.fixture
def evaluate(data: Path, ranged_engine: Path) -> Command:
    """Run `evaluate widerface` on them."""

    def run(rule: str = "original", root: Path = data / "root", engine: Path = ranged_engine, **options: object) -> int:
        arguments = ["--ground-truth", data / "truth", "--predictions", data / "found", "--json", data / "ap.json"]
        arguments += ["--root", root, "--engine", engine, "--device", "cpu", "--scale-rule", rule]
        for name, value in options.items():
            arguments += [f"--{name.replace('_', '-')}", value]
        return main(["evaluate", "widerface", *map(str, arguments)])

    return run


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the images that detect() is called with."""
    calls: list[tuple[int, ...]] = []
    detect: Any = TRTRetinaFace.detect

    def counted(self: TRTRetinaFace, image: Image, **options: Any) -> Any:
        calls.append(image.shape)
        return detect(self, image, **options)

    monkeypatch.setattr(TRTRetinaFace, "detect", counted)
    return calls


def _numbers(data: Path) -> dict[str, float]:
    values: dict[str, float] = json.loads((data / "ap.json").read_text())
    return values


@pytest.mark.parametrize("rule", ["original", "vga"])
def test_faces_are_found_and_predictions_can_be_evaluated_again(
    data: Path, evaluate: Command, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(rule, plot=data / "curves.png") == 0
    assert _numbers(data) == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    table = capsys.readouterr().out
    assert all(f"{name} " in table for name in SUBSETS)
    assert cv2.imread(str(data / "curves.png")) is not None
    (data / "ap.json").unlink()
    again = ["--ground-truth", data / "truth", "--predictions", data / "found", "--json", data / "ap.json"]
    assert main(["evaluate", "widerface", *map(str, again)]) == 0
    assert _numbers(data) == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    assert sorted(p.name for p in (data / "found").iterdir()) == ["0--Space", "1--Small"]


def test_an_interrupted_run_continues(data: Path, evaluate: Command, runs: list[Any]) -> None:
    assert evaluate() == 0
    assert len(runs) == 3
    found = {path: path.read_bytes() for path in (data / "found").rglob("*.txt")}
    assert len(found) == 3
    (data / "found" / "0--Space" / "b.txt").unlink()
    runs.clear()
    assert evaluate() == 0
    assert len(runs) == 1
    assert {path: path.read_bytes() for path in (data / "found").rglob("*.txt")} == found
    runs.clear()
    assert evaluate() == 0
    assert not runs


def test_predictions_of_another_run_are_not_reused(
    data: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate() == 0
    assert evaluate("vga", score_threshold=0.1) == 1
    message = capsys.readouterr().err
    assert (
        "holds predictions of another run: scale_rule 'original', now 'vga'; score_threshold 0.02, now 0.1" in message
    )
    path = run_path(data / "found")
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "engine_sha256": "00"}))
    assert evaluate() == 1
    assert "another run: engine_sha256 '00', now " in capsys.readouterr().err
    for text in ("[", "[" * 100_000):
        path.write_text(text)
        assert evaluate() == 1
        assert "found.run.json cannot be read" in capsys.readouterr().err
    path.unlink()
    assert evaluate() == 1
    assert "holds predictions, but their settings" in capsys.readouterr().err


def test_the_rules_are_those_of_the_documents() -> None:
    """The table of docs/evaluation.md: scales, longest side, mirrored views and voting, IoU of the merging."""
    table = {name: (r.scales, r.longest, r.augmented, r.merge_iou) for name, r in SCALE_RULES.items()}
    assert table == {
        "original": (("original",), None, False, None),
        "mxnet": (((1200, 1600),), 1600, False, None),
        "mxnet-1600": (((1600, 2150),), 2150, False, None),
        "vga": (((640, 640),), 640, False, None),
        "multiscale": (((500, 750), (800, 1200), (1100, 1650), (1400, 2100), (1700, 2550)), 2550, True, 0.4),
    }
    for scales, longest, *_ in table.values():
        assert longest == max((s[1] for s in scales if isinstance(s, tuple)), default=None)


@pytest.mark.parametrize("rule", [name for name, rule in SCALE_RULES.items() if rule.longest])
@pytest.mark.parametrize("name", PRESETS)
def test_every_model_takes_every_rule(name: str, rule: str) -> None:
    """The decoder takes the anchors of a square of the longest side, for portrait and landscape images."""
    side = -(-SCALE_RULES[rule].longest // 32) * 32  # type: ignore[operator]
    preset(name).check_input_size(side, side)


@pytest.mark.parametrize("rule", SCALE_RULES)
def test_the_detector_is_called_as_the_rule_says(data: Path, rule: str) -> None:
    calls = []

    class Recorder:
        score_threshold = 0.02
        sidecar = SimpleNamespace(files=SimpleNamespace(engine=SimpleNamespace(sha256="0")))

        def detect(self, image: Image, **options: Any) -> Detections:
            calls.append((image.shape, options))
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), None)

    names = ["0--Space/a", "1--Small/c"]
    images = [data / "root" / "images" / f"{name}.jpg" for name in names]
    assert predict(Recorder(), images, names, data / "found", rule_name=rule) == 2  # type: ignore[arg-type]
    scales = {
        "original": ("original",),
        "mxnet": ((1200, 1600),),
        "mxnet-1600": ((1600, 2150),),
        "vga": ((640, 640),),
        "multiscale": ((500, 750), (800, 1200), (1100, 1650), (1400, 2100), (1700, 2550)),
    }[rule]
    every = rule == "multiscale"
    options = {"scales": scales, "flip": every, "voting": every, "merge_iou": 0.4 if every else None}
    assert calls == [((512, 512, 3), options), ((256, 256, 3), options)]


def test_rules_resize_the_images(ranged_detector: TRTRetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SCALE_RULES["multiscale"].augmented
    session, shapes = ranged_detector._session, []

    class Recorder:
        device = "cpu"

        def detect(self, images: list[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
            shapes.append((len(images), *letterbox.size))
            return session.detect(images, letterbox, watch)

    monkeypatch.setattr(ranged_detector, "_session", Recorder())
    image = np.zeros((300, 500, 3), np.uint8)
    for name in ("original", "vga"):
        ranged_detector.detect(image, scales=SCALE_RULES[name].scales)
    ranged_detector.detect(image, scales=SCALE_RULES["multiscale"].scales[:1], flip=True)
    # 500 x 300 padded to multiples of 32; long side 640; short side 500 limited by a long side of 750, mirrored too.
    assert shapes == [(1, 320, 512), (1, 384, 640), (2, 480, 768)]


@pytest.mark.parametrize(
    ("rule", "sides"),
    [("mxnet", "1600 x 1600"), ("mxnet-1600", "2176 x 2176"), ("multiscale", "2560 x 2560"), ("original", "992 x 640")],
)
def test_engines_that_are_too_small_are_refused_at_once(
    data: Path, evaluate: Command, rule: str, sides: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if rule == "original":
        path = data / "root" / "images" / "1--Small" / "c.jpg"
        cv2.imwrite(str(path), np.zeros((961, 610, 3), np.uint8))
    assert evaluate(rule) == 2
    height, width = sides.split(" x ")
    message = capsys.readouterr().err
    assert f"needs an input of {sides}, the engine was built for (320, 320) to (960, 960)" in message
    assert f"--max-input-size {height} {max(int(width), 960)}" in message
    assert not (data / "found").exists()


def test_wrong_arguments_and_missing_files_are_one_line(
    data: Path, evaluate: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    def message() -> str:
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        return line

    assert evaluate("large") == 2
    assert "unknown scale rule 'large', expected one of: original, mxnet, mxnet-1600, vga, multiscale" in message()
    assert evaluate(root=data / "nowhere") == 1
    assert "nowhere is not a folder" in message()
    assert evaluate(plot=data / "curves.bmp") == 2
    assert "expected a name that ends in .png, .svg, .pdf" in message()
    assert evaluate(score_threshold=0.001) == 2
    assert "score_threshold is 0.001" in message()
    only_root = ["--ground-truth", data / "truth", "--predictions", data / "found", "--root", data / "root"]
    assert main(["evaluate", "widerface", *map(str, only_root)]) == 2
    assert "--root and --engine belong together" in message()
    for option in (
        ["--device", "cpu"],
        ["--scale-rule", "vga"],
        ["--score-threshold", "0"],
        ["--trust-embedded-plugins"],
    ):
        assert main(["evaluate", "widerface", *map(str, only_root[:4]), *option]) == 2
        assert f"{option[0]} is for running an engine, but none is run" in message()
    assert evaluate(engine=data / "no.engine") == 1
    assert "the engine" in (line := message())
    assert "no.engine cannot be read: No such file" in line
    assert main(["evaluate", "widerface", *map(str, only_root[:4])]) == 1
    assert "found is not a folder" in message()
    image = data / "root" / "images" / "0--Space" / "b.jpg"
    image.write_bytes(b"no picture")
    assert evaluate() == 1
    assert "b.jpg is not a picture" in message()
    assert evaluate("vga") == 1
    assert "b.jpg: is not a picture" in message()
    image.unlink()
    assert evaluate() == 1
    assert "1 of 3 images are missing, the first is" in message()
    write_mat(data / "truth" / "wider_hard_val.mat", {"x": np.zeros(1)})
    assert evaluate() == 1
    assert "wider_hard_val.mat lacks the variables gt_list" in message()


def test_a_part_of_the_set_is_judged_if_asked_for(
    data: Path, ranged_engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The missed face of a picture that is not there does not count; of the first picture, which tells the folder."""
    part = ["--ground-truth", data / "truth", "--predictions", data / "found", "--json", data / "ap.json", "--partial"]
    again = ["evaluate", "widerface", *map(str, part)]
    assert main(again) == 1
    assert "found has none of the 3 images" in capsys.readouterr().err
    (data / "root" / "images" / "0--Space" / "a.jpg").unlink()
    with_images = ["--root", data / "root", "--engine", ranged_engine, "--device", "cpu"]
    assert main([*again, *map(str, with_images)]) == 0
    assert "judging 2 of 3 images" in capsys.readouterr().err
    assert _numbers(data) == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    (data / "found" / "0--Space" / "b.txt").write_text("b.jpg\n0\n")
    assert main(again) == 0
    assert "judging 2 of 3 images" in capsys.readouterr().err
    # One of two faces is found; the port's average precision of a curve that ends at a recall of a half.
    assert _numbers(data) == {"easy": 0.5, "medium": 0.5, "hard": 0.5}


def test_a_folder_that_cannot_be_written_is_refused(data: Path, ranged_detector: TRTRetinaFace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgumentError, match="cannot write to the folder"):
        predict(ranged_detector, [], [], tmp_path / "file" / "below", rule_name="vga")
