"""Measures this project and its peers: `make peers PHOTOS=DIR`, or `python -m benchmarks.peers --photos DIR`.

In each round, all of them process each picture in turn, and the ratios of their times are computed; the table has the
median and quartiles over the rounds. Times are wall-clock times of one picture, which has been read before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernels import document
from benchmarks.peers.environments import PEERS, python_of
from benchmarks.peers.prepare import Prepared, prepare
from benchmarks.peers.run import Measured, Worker, measure
from engine.errors import RetinaFaceError
from engine.images import list_images
from engine.metrics.agreement import agreement
from engine.threads import check_threads
from engine.types import DEFAULT_SCORE_THRESHOLD

DOCUMENT = document.ROOT / "docs" / "performance.md"
OURS = ("ours fp32", "ours fp16", "ours bf16", "ours int8", "ours fp32, ONNX Runtime")


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = _parse()
    pictures = [str(path) for path in list_images(arguments.photos)][: arguments.limit]
    cores = sorted(os.sched_getaffinity(0))[: check_threads(arguments.threads)]
    folder: Path = arguments.output.parent / "peers"
    prepared = prepare(folder, arguments.calibrate)
    workers, missing = _start(prepared, pictures, cores, folder, arguments.only)
    try:
        measured = measure(workers, len(pictures), arguments.rounds)
    finally:
        for worker in workers.values():
            worker.close()
    rows = {name: _row(one, measured[OURS[0]], len(pictures)) for name, one in measured.items()}
    report = {
        "schema": 1,
        "machine": {"processor": _processor(), "python": platform.python_version(), "cores": len(cores)},
        "threads": len(cores),
        "input": [640, 640],
        "pictures": len(pictures),
        "rounds": arguments.rounds,
        "peers": rows,
        "missing": missing,
    }
    arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    if arguments.document:
        document.write("peers", table(report), DOCUMENT)
    return 0


def table(report: dict[str, Any]) -> str:
    """Return the report as a table in Markdown."""
    lines = [
        "| | letterbox ms | network ms | rest ms | images/s | ours fp32 is faster by (quartiles) | faces of ours fp32: "
        "lost, new | box IoU mean, min | landmark error |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in report["peers"].items():
        stages = row["stages_ms"]
        cells = [f"{stages[key]:.2f}" if key in stages else "" for key in ("letterbox", "network", "post-processing")]
        ratio, (low, high) = row["ratio"], row["ratio_quartiles"]
        spread = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        cells += [f"{row['images_per_second']:.1f}", spread, f"{row['faces']}: {row['lost']}, {row['new']}"]
        cells.append("" if row["iou"] is None else f"{row['iou'][0]:.3f}, {row['iou'][1]:.3f}")
        cells.append("" if row["landmark_error"] is None else f"{row['landmark_error']:.4f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    by_runtime: dict[str, list[str]] = {}
    for name, row in report["peers"].items():
        by_runtime.setdefault(row["runtime"], []).append(name)
    lines += [f"\n{', '.join(names)}: {runtime}." for runtime, names in by_runtime.items() if runtime]
    lines += [f"\n{name} did not run: {reason}" for name, reason in report["missing"].items()]
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="DIR", help="photos with faces")
    add(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="other photos, to calibrate the INT8 engine (default: generated pictures)",
    )
    add("--limit", type=int, default=12, help="photos at most (default %(default)s)")
    add("--rounds", type=int, default=15, help="passes over all photos (default %(default)s)")
    add("--threads", type=int, default=1, help="cores for each (default %(default)s)")
    add("--only", nargs="*", choices=PEERS, help="only these peers (default: all)")
    add("--document", action="store_true", help="write the table into docs/performance.md")
    add("--output", type=Path, default=Path("build/peers.json"), help="(default %(default)s)")
    return parser.parse_args()


def _start(
    prepared: Prepared, pictures: list[str], cores: list[int], folder: Path, only: list[str] | None
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Start all workers; return those that run, and for each of the others the reason why it does not."""
    workers: dict[str, Worker] = {}
    missing: dict[str, str] = {}
    for name in (*OURS, *(only or PEERS)):
        is_ours = name in OURS
        setup = asdict(prepared.setup(engine=_engine(name) if is_ours else None, threads=len(cores)))
        job = {"peer": "ours" if is_ours else name, "images": pictures, "setup": setup}
        print(f"starting {name} ...", file=sys.stderr)
        try:
            python = Path(sys.executable) if is_ours else python_of(name, folder, Path("constraints.txt"))
            workers[name] = Worker(python, job, cores, folder / f"{name.replace(' ', '-')}.log")
        except RuntimeError as error:
            if is_ours:
                raise
            missing[name] = str(error)
    return workers, missing


def _engine(name: str) -> tuple[str, str]:
    """Return the precision and the device of one of OURS."""
    precision, _, library = name.removeprefix("ours ").partition(", ")
    return precision, "cpu:onnxruntime" if library else "cpu:openvino"


def _row(one: Measured, ours: Measured, pictures: int) -> dict[str, Any]:
    ratios = np.array(one.rounds) / np.array(ours.rounds)
    compared = agreement(ours.faces, one.faces)
    iou, landmarks, presence = compared.iou, compared.landmark_error, compared.at(DEFAULT_SCORE_THRESHOLD)
    return {
        "runtime": one.runtime,
        "stages_ms": {stage: 1e3 * float(np.median(seconds)) for stage, seconds in one.stages.items()},
        "images_per_second": pictures / float(np.median(one.rounds)),
        "best_images_per_second": pictures / min(one.rounds),
        "ratio": float(np.median(ratios)),
        "ratio_quartiles": [float(value) for value in np.percentile(ratios, [25, 75])],
        "faces": compared.faces,
        "lost": presence.lost,
        "new": presence.new,
        "iou": None if iou is None else [iou.mean, iou.minimum],
        "landmark_error": None if landmarks is None else landmarks.mean,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RetinaFaceError as error:
        sys.exit(f"error: {error}")
