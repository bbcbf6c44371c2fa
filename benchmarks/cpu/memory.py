"""Measures what a process holds over many images, loads or processes: python -m benchmarks.cpu.memory --engine FILE."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from engine import TRTRetinaFace


def main() -> None:
    """Print resident memory, open files and threads after each tenth of the images, loads or processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--engine", type=Path, required=True, metavar="FILE")
    add("--device", default="cpu", help="cpu, cpu:openvino or cpu:onnxruntime (default %(default)s)")
    add("--images", type=int, default=10_000, help="number of images, singly and in eights (default %(default)s)")
    add("--largest", type=int, default=1200, help="longest side of an image, in pixels (default %(default)s)")
    add("--loads", type=int, help="instead: load the engine, detect in 9 images and close it, so many times")
    add("--spawns", type=int, help="instead: start so many processes that do that, beside a loaded engine")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    load = partial(_load, arguments.engine, arguments.device, rng, arguments.largest)

    if arguments.loads:
        total, what, step = arguments.loads, "loads", load
    else:
        loaded = TRTRetinaFace(arguments.engine, arguments.device)
        detect = partial(_detect, loaded, rng, arguments.largest)
        total, what, step = arguments.images, "images", detect
        if arguments.spawns:
            detect()
            total, what, step = arguments.spawns, "processes", partial(_spawn, load)
    process, done = psutil.Process(), 0
    for tenth in range(10):
        while done < total * (tenth + 1) // 10:
            done += step()
        gc.collect()
        print(
            f"{done} {what}: {process.memory_info().rss / 1e6:.1f} MB, {process.num_fds()} open files, "
            f"{process.num_threads()} threads",
            flush=True,
        )


def _detect(detector: TRTRetinaFace, rng: np.random.Generator, largest: int) -> int:
    images = [rng.integers(0, 256, (*rng.integers(40, largest, 2), 3), dtype=np.uint8) for _ in range(9)]
    detector.detect(images[:8])
    detector.detect(images[8])
    return len(images)


def _load(engine: Path, device: str, rng: np.random.Generator, largest: int) -> int:
    with TRTRetinaFace(engine, device) as detector:
        _detect(detector, rng, largest)
    return 1


def _spawn(target: Callable[[], int]) -> int:
    process = multiprocessing.get_context("spawn").Process(target=target)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"a process ended with status {process.exitcode}")
    process.close()
    return 1


if __name__ == "__main__":
    main()
