"""The worker process of one peer: reads picture indices from stdin, writes stages and faces as JSON to stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))


def main() -> None:
    """Serve until stdin ends; the output of packages goes to stderr."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        job = json.loads(sys.stdin.readline())
        import cv2

        from benchmarks.peers.adapters import ADAPTERS, Clock, Setup

        cv2.setNumThreads(job["setup"]["threads"])
        images = [cv2.imread(path) for path in job["images"]]
        detect = ADAPTERS[job["peer"]](Setup(**job["setup"]))
        print(json.dumps({"runtime": getattr(detect, "runtime", None)}), file=answers, flush=True)
        for line in sys.stdin:
            image = images[json.loads(line)]
            clock = Clock()
            boxes, scores, landmarks = detect(image, clock)
            answer = {
                "stages": clock.stages,
                "boxes": boxes.tolist(),
                "scores": scores.tolist(),
                "landmarks": None if landmarks is None else landmarks.tolist(),
            }
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
