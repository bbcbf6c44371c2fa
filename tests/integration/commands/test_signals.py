"""Commands that get SIGINT or SIGTERM at any moment: they end by their own word, at once, and leave nothing partial."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.evaluate.widerface.files import read_predictions
from tests.support.data import astronaut
from tests.support.engines import rtx
from tests.support.widerface_cases import random_truth, write_truth

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_EVENLY = 2  # signals, spread over the time that a command takes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four photos with a face."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        cv2.imwrite(str(folder / f"{i}.png"), astronaut()[: 400 + 20 * i])
    return folder


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ground truth and eight pictures, as WIDER FACE has them."""
    folder, rng = tmp_path_factory.mktemp("wider"), np.random.default_rng(0)
    truth = random_truth(rng, images=8)
    write_truth(folder, truth)
    for name in truth.names:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (240, 300, 3), np.uint8))
    return folder


@pytest.fixture
def engines(fp32_engine: Path, fp16_engine: Path) -> tuple[Path, Path]:
    """Two engines of one network."""
    return fp32_engine, fp16_engine


def _caught(process: subprocess.Popen[str]) -> bool:
    """Whether the process handles SIGTERM; before, Python itself is starting."""
    fields = Path(f"/proc/{process.pid}/status").read_text().split("SigCgt:")
    return len(fields) > 1 and bool(int(fields[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def _interrupt(arguments: list[str], folder: Path, number: signal.Signals, after_s: float) -> tuple[int, str]:
    """Run a command in a folder and send it a signal; return its status and what it said on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    while process.poll() is None and not _caught(process):
        time.sleep(0.001)
    time.sleep(after_s)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize("turn", range(_EVENLY))
@pytest.mark.parametrize("command", ["build", "detect", "agreement", "thresholds", "compose", "widerface", "bench"])
def test_at_any_moment(
    command: str, turn: int, engines: tuple[Path, Path], pictures: Path, wider: Path, tmp_path: Path
) -> None:
    fp32_engine, fp16_engine = engines
    labels = tmp_path / "labels.jsonl"
    names = sorted(path.name for path in pictures.iterdir())
    labels.write_text("".join(f'{{"image": "{name}", "faces": [{{"box": [170, 60, 280, 210]}}]}}\n' for name in names))
    folder = tmp_path / "output"
    folder.mkdir()
    images = ["--images", str(pictures)]
    lasts_s, arguments = {
        "build": (8.0, ["build", "--precision", "int8", "--calib-dir", str(pictures), "--calib-cache", "fit.npz",
            "--max-loss", "off", "--input-size", "96", "96", "--runtime", "tensorrt-rtx", "--output", "a.engine"]),
        "detect": (1.0, ["detect", "--engine", str(fp32_engine), "--device", "cpu", "--annotate", ".",
            *(str(pictures / name) for name in names)]),
        "agreement": (1.5, ["evaluate", "agreement", "--reference", str(fp32_engine), "--engine", str(fp16_engine),
            *images, "--device", "cpu", "--json", "a.json", "--html", "a.html"]),
        "thresholds": (1.5, ["evaluate", "thresholds", "--labels", str(labels), "--engine", str(fp32_engine), *images,
            "--device", "cpu", "--candidates", "a.npz", "--json", "a.json"]),
        "widerface": (2.5, ["evaluate", "widerface", "--ground-truth", str(wider), "--root", str(wider), "--engine",
            str(fp32_engine), "--device", "cpu", "--predictions", "found", "--json", "a.json", "--plot", "a.svg"]),
        "bench": (4.0, ["bench", "--engine", str(fp32_engine), "--reference", str(fp16_engine), *images, "--device",
            "cpu", "--concurrency", "2", "--batch", "2", "--duration", "1", "--output", "bench"]),
        "compose": (1.5, ["evaluate", "compose", *images, "--labels", str(labels), "--output", ".", "--count", "30"]),
    }[command]  # fmt: skip
    if command == "build":
        rtx()
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    number, after_s = rng.choice(list(_STATUS)), lasts_s * (turn + rng.random()) / _EVENLY
    status, errors = _interrupt(arguments, folder, number, after_s)
    context = f"seed {seed}: {number.name} after {after_s:.3f} s: status {status}, {errors}"
    whole = {"build": {"a.engine", "a.engine.json", "a.network.onnx", "fit.npz"}}.get(command, set())
    left = {path.name for path in folder.rglob("*")}
    assert "Traceback" not in errors, context
    assert "terminate" not in errors, context
    assert "ignored" not in errors, context
    assert not any(name.startswith(".") for name in left), (context, left)
    if status == _STATUS[number]:
        assert errors.splitlines()[-1] == "retinaface-trt: interrupted", context
        assert left & whole in (set(), {"fit.npz"}, whole), (context, left)
    else:  # the command was done before; Python was ending
        assert status in (0, -number), context
        assert left >= whole, (context, left)
    if command == "widerface":  # each picture's file is whole
        names = [path.relative_to(folder / "found").with_suffix("").as_posix() for path in folder.glob("found/*/*.txt")]
        if names:
            read_predictions(folder / "found", names)


# Without the GIL, and not ended by a signal, as while TensorRT compiles an engine: some seconds for each 10^7.
_INSIDE = "hashlib.pbkdf2_hmac('sha256', b'', b'', {})"


@pytest.mark.parametrize("number", _STATUS)
@pytest.mark.parametrize(
    ("body", "wait_s", "said"),
    [
        pytest.param(_INSIDE.format(10**9), 1.0, "", id="library"),
        pytest.param("os.write(1, b'started'); print('x' * 10**6)", 1.0, "started", id="reader-that-stopped"),
        pytest.param(
            f"with signals_deferred():\n    {_INSIDE.format(10**7)}\n    os.write(1, b'whole')\n",
            30,
            "whole",
            id="write",
        ),
    ],
)
def test_inside_a_library_too(number: signal.Signals, body: str, wait_s: float, said: str) -> None:
    script = (
        "import hashlib, os, signal\n"
        "from engine.writing.signals import signals_deferred\n"
        "from retinaface_trt.interrupts import end_on_signals\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"  # background jobs of a shell ignore it
        "end_on_signals('test')\n"
        "os.write(2, b'ready')\n"
        f"{body}\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.read(5) == b"ready"
        time.sleep(0.5)
        process.send_signal(number)
        try:
            process.wait(wait_s + 2)  # for a busy machine
        finally:
            process.kill()
        assert process.returncode == _STATUS[number]
        assert process.stderr.read() == b"test: interrupted\n"
        assert process.stdout.read().decode().startswith(said)


def test_a_signal_to_a_forked_process_is_not_this_one_s() -> None:
    script = (
        "import os, signal, time\n"
        "from retinaface_trt.interrupts import end_on_signals\n"
        "end_on_signals('test')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    time.sleep(60)\n"
        "time.sleep(0.2)\n"
        "os.kill(child, signal.SIGTERM)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "time.sleep(1.5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "test: interrupted\n")


def test_a_signal_that_the_shell_ignores_stays_ignored(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from retinaface_trt.interrupts import end_on_signals\n"
        "end_on_signals('test')\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('here')\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "here\n", "test: interrupted\n")
