"""Measures what a process holds over many images, or many loads: python -m benchmarks.cpu.memory --engine FILE."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

import numpy as np
import psutil

from engine import TRTRetinaFace


def main() -> None:
    """Print resident memory, open files and threads after each tenth of the images, or of the loads."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--engine", type=Path, required=True, metavar="FILE")
    add("--device", default="cpu", help="cpu, cpu:openvino or cpu:onnxruntime (default %(default)s)")
    add("--images", type=int, default=10_000, help="number of images, singly and in eights (default %(default)s)")
    add("--largest", type=int, default=1200, help="longest side of an image, in pixels (default %(default)s)")
    add("--loads", type=int, help="instead: load the engine, detect in 9 images and close it, so many times")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)

    def detect(detector: TRTRetinaFace) -> int:
        images = [rng.integers(0, 256, (*rng.integers(40, arguments.largest, 2), 3), dtype=np.uint8) for _ in range(9)]
        detector.detect(images[:8])
        detector.detect(images[8])
        return len(images)

    def load() -> int:
        with TRTRetinaFace(arguments.engine, arguments.device) as detector:
            detect(detector)
        return 1

    if arguments.loads:
        total, what, step = arguments.loads, "loads", load
    else:
        loaded = TRTRetinaFace(arguments.engine, arguments.device)
        total, what, step = arguments.images, "images", lambda: detect(loaded)
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


if __name__ == "__main__":
    main()
