"""Serve many callers in one process: their images are gathered into batches.

Usage: python examples/batch_service.py retinaface_fp16.engine photo.jpg --callers 8 --requests 4

Each caller is a thread, as in the thread pool of a web framework. It submits one image and waits for its faces.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from engine import BatchQueue, QueueFullError, TRTRetinaFace
from engine.types import Image


def handle(queue: BatchQueue, image: Image) -> str:
    """Answer one request, as the handler of a web framework does."""
    begin = time.perf_counter()
    try:
        request = queue.submit(image)
    except QueueFullError:  # backpressure: refuse early (HTTP 503) rather than answer late
        return "refused: too many images wait"
    faces = request.result(timeout=60)
    took_ms = (time.perf_counter() - begin) * 1000
    return f"{len(faces)} faces after {took_ms:.0f} ms, in a batch of {request.batch_size}"


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Serve many callers in one process.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it")
    parser.add_argument("photo", help="picture that every caller sends")
    parser.add_argument("--callers", type=int, default=8, help="threads (default %(default)s)")
    parser.add_argument("--requests", type=int, default=4, help="requests of each caller (default %(default)s)")
    arguments = parser.parse_args()

    photo = cv2.imread(arguments.photo)
    if photo is None:
        parser.error(f"cannot read the picture {arguments.photo}")
    image = np.asarray(photo, np.uint8)

    # On a GPU, [detector, detector.clone()] overlaps the CPU's work on one batch with the GPU's work on another.
    with (
        TRTRetinaFace(arguments.engine) as detector,
        BatchQueue([detector], max_delay=0.005, max_waiting=256) as queue,
        ThreadPoolExecutor(arguments.callers) as callers,
    ):
        for answer in callers.map(lambda _: handle(queue, image), range(arguments.callers * arguments.requests)):
            print(answer)


if __name__ == "__main__":
    main()
