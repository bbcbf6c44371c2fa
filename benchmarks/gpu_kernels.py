"""Tests and measures the kernels on a machine with a GPU: `make gpu-kernels`.

For a machine without TensorRT and without a package index, where nothing is installed: the Python that runs this has
PyTorch, CuPy, pytest and what compiles (pybind11, CMake, Ninja), nvcc is on the PATH, and TENSORRT_ROOT names a folder
with TensorRT's headers. One step after another, each with a time limit and a log; a step that fails does not stop the
next, but the exit status is then 1. Everything lies in the folder that OUT names, else in build/gpu-kernels, also what
there was when the run was stopped.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "device"  # where the tests look for the plugins' test driver
SECONDS = 470  # for all steps
WORKERS = 8  # test processes, each with a CUDA context

MARKERS = ["-q", "-p", "no:cacheprovider", "-m", "gpu and not needs_gpu"]
TESTS = ["tests/csrc", "tests/integration/gpu/test_gpu_kernels.py"]
LAUNCHERS = "tests/csrc/launchers"
# Runs a module as a program; importing the tests chooses the build that RETINAFACE_NATIVE names.
MODULE = "import runpy, sys, tests; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
SHOW_BUILD = (
    "import tests; from engine import ops; print(ops.build_info()); assert ops.cuda_device_count() > 0, 'no GPU'"
)
SHOW_MACHINE = 'nvidia-smi; nvcc --version; c++ --version; "$0" --version; "$0" -m pip list'


@dataclass(frozen=True)
class Step:
    """A command with a log.

    Attributes:
        name: also of the log, NAME.log.
        command: a program and its arguments.
        seconds: after which it is ended.
        optional: whether it is left out where the program is missing.
    """

    name: str
    command: Sequence[str]
    seconds: float
    optional: bool = False


def main() -> int:
    """Run all steps; return 1 if one fails or there is no GPU."""
    capability = compute_capability()
    if capability is None:
        print("This needs an NVIDIA GPU and its driver: nvidia-smi finds none here.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _stop)
    folder = Path(os.environ.get("OUT") or ROOT / "build" / "gpu-kernels").resolve()
    try:
        return 0 if run(list(steps(capability, folder)), folder, SECONDS) else 1
    except KeyboardInterrupt:
        return 130


def compute_capability() -> str | None:
    """Return that of the first GPU, such as "90" for 9.0; None without a GPU or a driver."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0].replace(".", "") if lines else None


def steps(capability: str, folder: Path) -> Iterator[Step]:
    """Yield the steps; those that compile come first."""
    python, processors = sys.executable, os.cpu_count() or 1
    yield Step("machine", ["sh", "-c", SHOW_MACHINE, python], 30)
    options = [f"-DPython_EXECUTABLE={python}", f"-DCMAKE_CUDA_ARCHITECTURES={capability}", "-DRETINAFACE_TEXTBOOK=ON"]
    # A warning of a compiler that the project has not met is worth a look, but no reason to stop.
    options.append("-DRETINAFACE_WARNINGS_AS_ERRORS=OFF")
    yield Step("configure", ["cmake", "--preset", "device", *options], 60)
    yield Step("build", ["cmake", "--build", str(BUILD), f"-j{processors}", "--", "-k", "0"], 240)
    yield Step("import", [python, "-c", SHOW_BUILD], 30)
    pytest = [python, "-m", "pytest", *MARKERS]
    parallel = importlib.util.find_spec("xdist") is not None
    workers = ["-n", str(min(WORKERS, processors)), "--dist", "worksteal"] if parallel else []
    yield Step("tests", [*pytest, *workers, *TESTS], 150)
    for tool, seconds in (("memcheck", 60), ("racecheck", 90), ("synccheck", 60)):
        sanitizer = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9"]
        yield Step(tool, [*sanitizer, *pytest, LAUNCHERS], seconds)
    times = [python, "-c", MODULE, "benchmarks.kernels.gpu.time", "--json", str(folder / "times.json")]
    yield Step("times", times, 120)
    profile = ["ncu", "--set", "full", "--clock-control", "none", "--profile-from-start", "off", "-f"]
    report = str(folder / "kernels.ncu-rep")
    yield Step("ncu", [*profile, "-o", report, python, "-c", MODULE, "benchmarks.kernels.gpu.once"], 60, optional=True)
    yield Step("ncu-details", ["ncu", "--import", report, "--page", "details"], 30, optional=True)


def run(steps: Sequence[Step], folder: Path, seconds: float) -> bool:
    """Run the steps one after another, for at most `seconds` in all; return whether all succeeded.

    The folder gets their logs and summary.txt, which has a line for each step that has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        (folder / f"{step.name}.log").unlink(missing_ok=True)
    end = time.monotonic() + seconds
    succeeded = True
    with (folder / "summary.txt").open("w") as summary:
        for step in steps:
            begin = time.monotonic()
            result = _run_step(step, folder / f"{step.name}.log", min(step.seconds, end - begin))
            succeeded = succeeded and result in ("passed", "left out")
            line = f"{step.name}: {result}, {time.monotonic() - begin:.0f} s"
            last = _last_line(folder / f"{step.name}.log")
            for target in (summary, sys.stdout):
                print(line + (f" ({last})" if last else ""), file=target, flush=True)
    print(f"The logs are in {folder}.")
    return succeeded


def _run_step(step: Step, log: Path, seconds: float) -> str:
    """Run a step; return how it ended."""
    program = step.command[0]
    if shutil.which(program) is None:
        return "left out" if step.optional else f"failed: {program} is not on the PATH"
    if seconds <= 0:
        return "failed: no time left"
    with log.open("w") as output:
        process = subprocess.Popen(
            step.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _interrupt(process)
            return f"failed: ended after its limit of {seconds:.0f} s"
        finally:
            with suppress(ProcessLookupError):  # also what the step has left running
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "passed" if status == 0 else f"failed with status {status}"


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a step write what it has found so far."""
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)


def _environment() -> dict[str, str]:
    """Return the environment of a step, in which the tests use what was built here."""
    built = sorted(BUILD.glob("_native*.so"))
    return {**os.environ, "PYTHONUNBUFFERED": "1", **({"RETINAFACE_NATIVE": str(built[0])} if built else {})}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:120] for line in reversed(lines) if line.strip()), "")


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
