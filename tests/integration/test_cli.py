"""The commands as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.backend.plugin_library import plugin_library
from engine.cli import build_main, main
from engine.version import project_version
from tests.support.data import ASTRONAUT_FACE, astronaut
from tests.support.engines import rtx
from tests.support.oracles.boxes import iou

ROOT = Path(__file__).parents[2]


def test_build_prints_a_table_and_detect_prints_json_lines(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rtx()
    path = tmp_path / "out" / "a.engine"
    arguments = ["--precision", "fp16", "--runtime", "tensorrt-rtx", "--target", "sm89", "--target", "sm120"]
    assert build_main([*arguments, "--input-size", "512", "512", "--embed-plugins", "--output", str(path)]) == 0
    printed = capsys.readouterr()
    for expected in ("fp16", "RetinaFaceDecode, RetinaFaceNMS (inside the engine)", "sm89, sm120", "MB", str(path)):
        assert expected in printed.out
    assert "Compiling with tensorrt-rtx" in printed.err

    marked = tmp_path / "marked"
    arguments = ["detect", "--engine", str(path), "--device", "cpu", "--annotate", str(marked)]
    assert main([*arguments, str(photo), str(photo)]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["image"] for line in lines] == [str(photo)] * 2
    (face,) = lines[0]["faces"]
    assert face.keys() == {"box", "score", "landmarks"}
    assert iou(np.array(face["box"]), ASTRONAUT_FACE) >= 0.6
    assert face["score"] >= 0.9
    assert np.array(face["landmarks"]).shape == (5, 2)
    drawn = cv2.imread(str(marked / photo.name))
    assert drawn is not None
    assert drawn.shape == (512, 512, 3)
    changed = np.abs(drawn.astype(int) - astronaut()).max(axis=2) > 60
    ys, xs = np.nonzero(changed)
    # What was drawn surrounds the face: the box, and its label above.
    assert abs(xs.min() - face["box"][0]) < 6
    assert abs(ys.max() - face["box"][3]) < 6


def test_unreadable_pictures_are_named_and_the_others_done(
    fp16_engine: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, empty = tmp_path / "text.jpg", tmp_path / "empty.jpg"
    text.write_text("no picture")
    empty.touch()
    arguments = ["detect", "--engine", str(fp16_engine), "--device", "cpu"]
    assert main([*arguments, str(text), str(tmp_path / "nowhere.jpg"), str(empty), str(photo)]) == 1
    printed = capsys.readouterr()
    assert [json.loads(line)["image"] for line in printed.out.splitlines()] == [str(photo)]
    assert f"{text}: is not a picture" in printed.err
    assert f"{empty}: is not a picture" in printed.err
    assert f"{tmp_path / 'nowhere.jpg'}: cannot be read: No such file" in printed.err


def test_annotations_never_overwrite_a_picture(
    fp16_engine: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = photo.read_bytes()
    arguments = ["detect", "--engine", str(fp16_engine), "--device", "cpu", "--annotate", str(tmp_path)]
    assert main([*arguments, str(photo)]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert photo.read_bytes() == content
    arguments[-1] = "/proc"
    assert main([*arguments, str(photo)]) == 2
    assert "cannot write to the folder /proc" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--precision", "int3"], 2, "precision is 'int3', expected one of"),
        (["--threads", "0"], 2, "threads is 0, expected 1 to 1024"),
        (["--target", "sm90"], 2, "unknown target 'sm90'"),
        (["--input-size", "650", "640"], 2, "multiple of 32"),
        (["--weights", "nowhere.pth", "--runtime", "tensorrt-rtx"], 1, "no such file"),
        (["--output", "/proc/a.engine", "--runtime", "tensorrt-rtx"], 1, "cannot write to the output folder /proc"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rtx()
    monkeypatch.chdir(tmp_path)
    assert build_main(arguments) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert line.startswith("build_engine.py: error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_doctor_says_what_is_there(fp16_engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--engine", str(fp16_engine)]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["retinaface-trt"]["state"] == project_version()
    assert findings["operators"]["ok"]
    assert findings["onnxruntime"]["ok"]
    assert findings["tensorrt-rtx"]["ok"]
    assert findings["plugin library"]["ok"]
    assert findings["precision"]["state"] == "fp16"
    for finding in findings.values():
        assert finding["ok"] or finding["remedy"]
    assert main(["doctor"]) == 0
    assert str(plugin_library().path) in capsys.readouterr().out


def test_doctor_fails_for_a_damaged_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--engine", str(tmp_path / "nowhere.engine")]) == 1
    assert "cannot be read" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "engine", "--help"], [sys.executable, "build_engine.py", "--help"]]
)
def test_commands_start_from_the_repository(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_importing_the_package_brings_nothing_heavy() -> None:
    script = (
        "import sys; import engine; from engine import TRTRetinaFace, Detections\n"
        "print([m for m in ('torch', 'tensorrt', 'tensorrt_rtx', 'cupy', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("blocked", ["onnxruntime", "openvino", "cv2", "torch", "engine._native"])
def test_doctor_works_where_something_is_missing(blocked: str) -> None:
    script = (
        "import importlib.abc, importlib.util, sys\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {blocked!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name == {blocked!r} else find(name, *a)\n"
        "from engine.cli import main\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    finding = findings["operators" if blocked == "engine._native" else blocked]
    assert not finding["ok"]
    assert "pip install" in finding["remedy"]
    assert done.returncode == (1 if finding["required"] else 0)
