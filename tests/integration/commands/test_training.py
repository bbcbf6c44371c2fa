"""`retinaface-trt train` as a process that is stopped, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from engine.train.checkpoints import Checkpoint
from tests.support.training.runs import SIDE, TINY, drawn_pictures

_EPOCHS = 1000  # more than the process gets to


def test_a_signal_ends_the_step_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    lines = [
        json.dumps({"image": picture.path.name, "faces": [{"box": picture.boxes[0].tolist()}]})
        for picture in drawn_pictures(tmp_path / "pictures", 4)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines))
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    command = [sys.executable, "-m", "engine", "train", "--labels", "labels.jsonl", "--images", "pictures", "--config",
        "tiny.json", "--weights", "random", "--size", str(SIDE), "--epochs", str(_EPOCHS), "--batch", "2", "--output",
        "run", "--threads", "1", "--workers", "1"]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    shown = []
    for line in process.stderr:
        shown.append(line)
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, (shown, errors)
    assert "stopped; the same command with --resume goes on from run/last.pth" in errors
    assert errors.splitlines()[-1] == "retinaface-trt: interrupted"
    assert "Traceback" not in errors
    position = Checkpoint.read(tmp_path / "run" / "last.pth").position
    assert 2 <= position.epoch < _EPOCHS
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
