"""`make gpu-kernels` with the emulator in the GPU's place, and its handling of steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_kernels
from benchmarks.gpu_kernels import Step, run
from benchmarks.kernels.gpu.comparisons import Comparison
from benchmarks.kernels.gpu.once import first_of_each
from engine.backend.driver import sees_gpu
from tests.csrc.launchers.launchers import Operation
from tests.csrc.plugins.driver import Library
from tests.support.backends import ROOT, load_emulator


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _summary(folder: Path) -> dict[str, str]:
    """How each step ended, by its name."""
    lines = (folder / "summary.txt").read_text().splitlines()
    return {name: result for name, _, result in (line.partition(": ") for line in lines)}


@pytest.mark.gpu
@pytest.mark.slow
def test_all_steps_on_the_emulator(tmp_path: Path) -> None:
    """Stand-ins see a GPU, compile nothing and pass on what the sanitizer should run. The operators see no GPU, so two
    steps fail, and the others go on.
    """
    if sees_gpu():
        pytest.skip("there is a GPU: run make gpu-kernels")
    load_emulator()
    programs, out = tmp_path / "programs", tmp_path / "out"
    programs.mkdir()
    _program(programs / "nvidia-smi", "echo 8.9")
    _program(programs / "cmake", 'echo "cmake $*"')
    _program(programs / "compute-sanitizer", 'tool=$2; shift 4; "$@" && echo "$tool found nothing"')
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {
        **inherited,
        "PATH": f"{programs}:/usr/bin:/bin",  # without ncu
        "OUT": str(out),
        "PYTEST_ADDOPTS": "-k 'test_repeats_to_the_last_bit and letterbox'",
    }
    command = ["make", "gpu-kernels", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    results = _summary(out)
    assert done.returncode == 2, done.stderr  # of make, where a command fails
    assert [line for line in done.stdout.splitlines() if line.startswith("tests: passed")]
    assert "-DCMAKE_CUDA_ARCHITECTURES=89" in (out / "configure.log").read_text()
    assert "passed" in results["tests"].partition("(")[2]
    for tool in ("memcheck", "racecheck", "synccheck"):
        assert f"{tool} found nothing" in results[tool]
    assert [name for name, result in results.items() if result.startswith("failed")] == ["import", "times"]
    assert [name for name, result in results.items() if result.startswith("left out")] == ["ncu", "ncu-details"]


def test_a_step_that_fails_or_takes_too_long_does_not_stop_the_next(tmp_path: Path) -> None:
    steps = [
        Step("wrong", _python("print('why'); raise SystemExit(3)"), 60),
        Step("slow", _python("import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('so far')"), 3),
        Step("absent", ["no-such-program"], 60),
        Step("left-out", ["no-such-program"], 60, optional=True),
        Step("right", _python("print('well')"), 60),
    ]
    begin = time.monotonic()
    assert not run(steps, tmp_path / "out", 100)
    assert time.monotonic() - begin < 50
    results = _summary(tmp_path / "out")
    assert results["wrong"].startswith("failed with status 3")
    assert results["wrong"].endswith("(why)")
    assert results["slow"].startswith("failed: ended after its limit of 3 s")
    assert results["slow"].endswith("(so far)")
    assert results["absent"].startswith("failed: no-such-program is not on the PATH")
    assert results["left-out"].startswith("left out")
    assert results["right"].startswith("passed")
    assert run(steps[3:], tmp_path / "out", 100)
    assert not run(steps[4:], tmp_path / "out", 0)
    assert "no time left" in _summary(tmp_path / "out")["right"]


def test_a_stopped_run_keeps_what_there_is_and_ends_its_step(tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = "import os, sys, time; print('begun', flush=True)"
    code += "; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    endless = [*_python(code), str(started)]
    script = f"""
from pathlib import Path
from benchmarks import gpu_kernels
from benchmarks.gpu_kernels import Step
gpu_kernels.compute_capability = lambda: "90"
gpu_kernels.steps = lambda *_: [Step("first", {_python("print(1)")!r}, 60), Step("endless", {endless!r}, 600)]
raise SystemExit(gpu_kernels.main())
"""
    environment = {**os.environ, "OUT": str(tmp_path / "out")}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 60
    while not started.exists() or not started.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert _summary(tmp_path / "out")["first"].startswith("passed")
    assert (tmp_path / "out" / "endless.log").read_text() == "begun\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_without_a_gpu_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_kernels.main() == 1
    assert "needs an NVIDIA GPU and its driver: nvidia-smi finds none here" in capsys.readouterr().err


def _no_operation(library: Library) -> Operation:
    raise AssertionError("choosing what to profile runs nothing")


def test_a_profile_is_of_the_first_call_of_each_operator() -> None:
    names = ["NMS, 1 x 5000", "NMS, 16 x 5000", "DeformConv float16, 4", "DeformConv float32, 4", "letterbox, 1"]
    first = first_of_each([Comparison(name, lambda: None, _no_operation) for name in names])
    assert [comparison.name for comparison in first] == ["NMS, 1 x 5000", "DeformConv float16, 4", "letterbox, 1"]
