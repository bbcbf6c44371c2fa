"""Find the faces in all pictures of a folder with the machines of a Ray cluster, and keep them as Parquet files.

Usage: python examples/ray_folder.py retinaface_fp16.engine photos faces --workers 2

RAY_ADDRESS names a cluster; without it, one of this machine is started for the time of the program. If the program is
stopped, run the same command again: finished files are not made anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ray
from pyarrow import parquet

from engine.scale import Detection, Workers, detect_to_parquet


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Find the faces in all pictures of a folder, with Ray.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it; all machines must see it")
    parser.add_argument("source", type=Path, help="folder of pictures, of .parquet or of WebDataset's .tar files")
    parser.add_argument("output", type=Path, help="folder for the Parquet files of faces")
    parser.add_argument("--workers", type=int, default=2, help="processes that detect (default %(default)s)")
    parser.add_argument("--gpus", type=float, default=0, help="of each; with 0 it uses one core (default 0)")
    arguments = parser.parse_args()

    ray.init(log_to_driver=False)
    on_cpu = arguments.gpus == 0
    detection = Detection(arguments.engine, "cpu" if on_cpu else "cuda:0", threads=1 if on_cpu else None)
    workers = Workers(arguments.workers, gpus=arguments.gpus)
    done = detect_to_parquet(arguments.source, arguments.output, detection, workers)
    print(
        f"{done.faces} faces in {done.pictures} pictures, {done.failed} with an error; {done.parts} parts, "
        f"{done.earlier} of an earlier run"
    )
    for file in sorted(arguments.output.glob("*.parquet"))[:3]:
        for row in parquet.read_table(file).slice(0, 10).to_pylist():
            boxes = [[round(x) for x in box] for box in row["boxes"] or []]
            print(f"{row['name']}: {row['error'] or boxes}")


if __name__ == "__main__":
    main()
