"""Measures how batches scale with threads: python -m benchmarks.cpu.threads --engine FILE --photos DIR."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import process_time

from benchmarks.cpu.side_by_side import milliseconds, ratio, time_in_turn
from engine import TRTRetinaFace
from engine.images import list_images, read_image


def main() -> None:
    """Print the wall-clock ratio and the processor time of a batch.

    When other programs run, the ratio shows how much of the machine was free. The processor time does not depend on
    them: if more threads do not increase it, the speed-up on idle cores is the number of threads.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--engine", type=Path, required=True, metavar="FILE")
    add("--device", default="cpu", help="cpu, cpu:openvino or cpu:onnxruntime (default %(default)s)")
    add("--photos", type=Path, required=True, metavar="DIR")
    add("--threads", type=int, default=2, help="number of threads to compare with one (default %(default)s)")
    add("--batch", type=int, default=16, help="images of a batch (default %(default)s)")
    add("--rounds", type=int, default=15, help="timed rounds (default %(default)s)")
    arguments = parser.parse_args()
    images = [read_image(path) for path in list_images(arguments.photos)]
    batch = (images * arguments.batch)[: arguments.batch]
    spent: dict[str, float] = {}
    ways = {}
    for threads in (1, arguments.threads):
        detector = TRTRetinaFace(arguments.engine, arguments.device, threads=threads, enlarge=True)

        def way(detector: TRTRetinaFace = detector, name: str = f"{threads}") -> None:
            begin = process_time()
            detector.detect(batch)
            spent[name] = min(spent.get(name, float("inf")), process_time() - begin)

        ways[f"{threads}"] = way
    seconds = time_in_turn(ways, arguments.rounds)
    more = str(arguments.threads)
    print(f"{detector.runtime}, batches of {len(batch)}: {more} threads are {ratio(seconds, '1', more)} times one")
    for name in ways:
        print(f"{name} threads: {milliseconds(seconds, name)} ms a batch, processor {1e3 * spent[name]:.1f} ms")
    best = seconds["1"].min() / seconds[more].min()
    print(f"least of one over least of {more}: {best:.2f}")


if __name__ == "__main__":
    main()
