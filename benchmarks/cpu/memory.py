"""Measures resident memory over many images: python -m benchmarks.cpu.memory --engine FILE."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import psutil

from engine import TRTRetinaFace


def main() -> None:
    """Detect faces in images of many sizes, singly and in batches; print the memory after each tenth of the images."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--engine", type=Path, required=True, metavar="FILE")
    add("--device", default="cpu", help="cpu, cpu:openvino or cpu:onnxruntime (default %(default)s)")
    add("--images", type=int, default=10_000, help="number of images (default %(default)s)")
    arguments = parser.parse_args()
    detector = TRTRetinaFace(arguments.engine, arguments.device)
    rng = np.random.default_rng(1)
    process, done = psutil.Process(), 0
    for tenth in range(10):
        while done < arguments.images * (tenth + 1) // 10:
            images = [rng.integers(0, 256, (*rng.integers(40, 1200, 2), 3), dtype=np.uint8) for _ in range(9)]
            detector.detect(images[:8])
            detector.detect(images[8])
            done += len(images)
        print(f"{done} images: {process.memory_info().rss / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
