"""How the work of engine.scale grows with the workers: measured on this machine's cores, and modelled beyond.

`python -m benchmarks.ray_scaling ENGINE`, in the environment that "make ray-demo" makes. Workers have one core each.
The runs alternate, so that other work on the machine meets all of them. It prints the table of docs/deploy.md.

The model: a worker takes a time for each picture, T, which is measured with one worker; it reads a picture's bytes from
storage, S; this process takes D of its core for each picture, to hand out work and to write rows. W workers then do
min(W / T, bandwidth / S, 1 / D) pictures a second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import ray
import skimage.data

from engine.scale import Detection, Workers, detect_to_parquet

_PART = 64
_BANDWIDTHS = (125e6, 1250e6)  # bytes a second: 1 and 10 Gbit/s, of a storage that all workers share
_MODELLED = (1, 2, 8, 32, 128, 512)


def measure(source: Path, detection: Detection, workers: int) -> float:
    """Return the pictures a second of so many workers. The first part is the warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        done = detect_to_parquet(source, folder, detection, Workers(workers), part_size=_PART)
        written = sorted(file.stat().st_mtime_ns for file in Path(folder).glob("*.parquet"))
    return (done.pictures - _PART) / ((written[-1] - written[0]) / 1e9)


def own_seconds(detection: Detection, count: int = 30_000) -> float:
    """Return the seconds of this process's core for each of some files that are no pictures: no worker is busy."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source").mkdir()
        for i in range(count):
            (Path(folder) / "source" / f"{i:06d}.jpg").touch()
        begin = time.process_time()
        detect_to_parquet(Path(folder) / "source", Path(folder) / "faces", detection)
        return (time.process_time() - begin) / count


def alone(source: Path, detection: Detection) -> float:
    """Return the pictures a second of a detector without Ray."""
    files = [str(file) for file in sorted(source.iterdir())[: 4 * _PART]]
    with detection.open() as detector:
        detector.detect(files[:16])
        begin = time.perf_counter()
        detector.detect(files)
        return len(files) / (time.perf_counter() - begin)


def in_two(processes: ProcessPoolExecutor, source: Path, detection: Detection) -> float:
    """Return those of two processes together."""
    return sum(call.result() for call in [processes.submit(alone, source, detection) for _ in range(2)])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure how engine.scale grows with the workers.")
    parser.add_argument("engine")
    parser.add_argument("--pictures", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().wait_for_min_actors_s = 60
    detection = Detection(arguments.engine, "cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        photo = np.asarray(cv2.imread(str(Path(skimage.data.__file__).parent / "astronaut.png")))
        content = cv2.imencode(".jpg", photo)[1].tobytes()
        for i in range(arguments.pictures):
            (Path(folder) / f"{i:06d}.jpg").write_bytes(content)
        source = Path(folder)
        with ProcessPoolExecutor(2, get_context("spawn")) as processes:
            rounds = [
                (
                    processes.submit(alone, source, detection).result(),
                    in_two(processes, source, detection),
                    measure(source, detection, 1),
                    measure(source, detection, 2),
                )
                for _ in range(arguments.rounds)
            ]
    for values in rounds:
        print("{:.1f}/s without Ray, {:.1f} in two processes; {:.1f} with 1 worker, {:.1f} with 2".format(*values))
    ratios = [(one / direct, both / direct, two / one) for direct, both, one, two in rounds]
    share, possible, reached = (statistics.median(column) for column in zip(*ratios, strict=True))
    rate, own = statistics.median(one for _, _, one, _ in rounds), own_seconds(detection)
    print(
        f"a worker does {share:.2f} of a process without Ray; two do {reached:.2f} of one, without Ray {possible:.2f}"
    )
    print(f"T {1e3 / rate:.1f} ms, S {len(content):,} bytes, D {own * 1e6:.0f} us")
    print("| workers | pictures/s at 1 Gbit/s | at 10 Gbit/s |\n|--:|--:|--:|")
    for count in _MODELLED:
        rates = [min(count * rate, bandwidth / len(content), 1 / own) for bandwidth in _BANDWIDTHS]
        print(f"| {count} | {rates[0]:,.0f} | {rates[1]:,.0f} |")


if __name__ == "__main__":
    main()
