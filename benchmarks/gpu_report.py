"""Runs the tests and benchmarks that need a GPU, and writes the GPU sections of docs/performance.md: `make gpu-report`.

The tests come first. If one fails, nothing is written: the speed of an engine with wrong results means nothing. Then
the kernels are timed, which needs no engine, and serve_bench measures the default model in FP32 and FP16, with one and
with two execution contexts, and once without CUDA graphs. Its JSON files and pages stay in build/gpu-report.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.kernels import document
from engine.backend.driver import compute_capability, gpu_names
from engine.backend.tensorrt import load_backend

DOCUMENT = document.ROOT / "docs" / "performance.md"
SECTION = "GPU report"
FOLDER = document.ROOT / "build" / "gpu-report"
PRECISIONS = ("fp32", "fp16")
# Runs: the name in the table, and the options of serve_bench.
RUNS = {
    "1 context": ["--contexts", "1"],
    "2 contexts": ["--contexts", "2"],
    "1 context, no graphs": ["--contexts", "1", "--no-cuda-graphs"],
}
CONCURRENCY = "1,4,16,64"
STAGES = ("queueing", "h2d", "letterbox", "network", "d2h", "undo letterbox")
HEADER = ("engine", "run", "load", "images/s", "p50, ms", "p99, ms", "mean batch", *(f"{s}, ms" for s in STAGES))


def main(arguments: list[str] | None = None) -> int:
    """Run everything; return 1 if there is no GPU, or if a test or a measurement fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--duration", type=float, default=20.0, metavar="S", help="seconds of each load (default %(default)s)"
    )
    parser.add_argument("--runtime", default="auto", help="auto, tensorrt or tensorrt-rtx (default %(default)s)")
    options = parser.parse_args(arguments)
    gpus = gpu_names()
    if not gpus:
        print("The GPU report needs an NVIDIA GPU and its driver: none was found here.", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        tests = run_tests(FOLDER / "tests.xml")
        _run("-m", "benchmarks.kernels.gpu.time", "--json", str(FOLDER / "kernels.json"), "--document")
        build(options.runtime)
        results = {run: measure(run, options.duration) for run in RUNS}
    except subprocess.CalledProcessError as error:
        print(f"{SECTION} in {DOCUMENT.name} stays as it is: {' '.join(error.cmd)} failed.", file=sys.stderr)
        return 1
    document.write(SECTION, report(tests, results), DOCUMENT)
    print(f"Wrote the GPU section of {DOCUMENT}.")
    return 0


def run_tests(junit: Path) -> str:
    """Run the tests that need a GPU; return a sentence with their number."""
    _run("-m", "pytest", "-m", "gpu", f"--junitxml={junit}")
    return tests_in_words(junit)


def tests_in_words(junit: Path) -> str:
    """Return a sentence with the numbers of a JUnit file, which must have no failures."""
    suites = list(ElementTree.parse(junit).iter("testsuite"))
    total, skipped = (sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped"))
    return f"{total - skipped} tests passed, {skipped} were skipped"


def build(runtime: str) -> None:
    """Build the engines, even if there are some: an earlier version of the project may have built those."""
    backend = load_backend(runtime).runtime
    # Its portable engines leave out Turing.
    turing = backend == "tensorrt-rtx" and (compute_capability() or (8, 0)) < (8, 0)
    for precision in PRECISIONS:
        command = [
            "build_engine.py",
            "--precision",
            precision,
            "--runtime",
            backend,
            "--output",
            str(_engine(precision)),
        ]
        _run(*command, *(["--target", "sm75"] if turing else []))


def measure(run: str, duration: float) -> dict[str, Any]:
    """Measure the engines in one of RUNS; return the JSON of serve_bench."""
    engines = [option for precision in PRECISIONS for option in ("--engine", str(_engine(precision)))]
    folder = FOLDER / run.replace(",", "").replace(" ", "-")
    load = ["--device", "cuda:0", "--concurrency", CONCURRENCY, *RUNS[run], "--duration", str(duration)]
    _run("serve_bench.py", *engines, *load, "--output", str(folder))
    content: dict[str, Any] = json.loads((folder / "serve_bench.json").read_text())
    return content


def report(tests: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of the section: the machine, the tests, a table row for each load, and the verdicts."""
    environment = next(iter(results.values()))["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    lines = [
        f"{environment['time'][:10]}, commit {environment['commit']}: {', '.join(environment['gpus'])}, driver "
        f"{environment['gpu_driver']}, {environment['cores_usable']} cores of {environment['cpu']}; Python "
        f"{environment['python']}, {packages}. {tests}.",
        "",
        document.table(HEADER, [row for run, result in results.items() for row in rows(run, result)]),
        "",
        "Stages are means over requests. Each image of a batch counts the whole time of the batch's stages.",
    ]
    for run, result in results.items():
        lines += ["", f"With {run}:", ""]
        lines += [f"- {v['engine']}, {v['load']}: {v['kind']}: {v['evidence']}" for v in result["verdicts"]]
    return "\n".join(lines)


def rows(run: str, result: Mapping[str, Any]) -> list[Sequence[object]]:
    """Return the table rows of a run, one for each point."""
    return [
        [
            point["engine"],
            run,
            f"{point['load']['kind']} {point['load']['value']}" + ("" if point["steady"] else ", unsteady"),
            f"{point['throughput_per_s']:.0f}",
            *(f"{point['latency_ms'][name]:.2f}" for name in ("p50", "p99")),
            f"{_mean_batch(point['batches']):.1f}",
            *(f"{point['stages_ms'][stage]['mean']:.3f}" if stage in point["stages_ms"] else "-" for stage in STAGES),
        ]
        for point in result["points"]
        if point["latency_ms"] is not None
    ]


def _engine(precision: str) -> Path:
    return FOLDER / f"{precision}.engine"


def _mean_batch(batches: Mapping[str, float]) -> float:
    return sum(int(size) * count for size, count in batches.items()) / sum(batches.values())


def _run(*arguments: str) -> None:
    print("$ python", *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], check=True, cwd=document.ROOT)


if __name__ == "__main__":
    sys.exit(main())
