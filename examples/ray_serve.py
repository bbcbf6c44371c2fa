"""Answer pictures over HTTP with the replicas of a Ray Serve deployment, and send it some.

Usage: python examples/ray_serve.py retinaface_fp16.engine photo.jpg --replicas 2 --requests 16

RAY_ADDRESS names a cluster; without it, one of this machine is started for the time of the program.
"""

from __future__ import annotations

import argparse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ray
from ray import serve

from engine.scale import Detection, Workers, face_service


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Answer pictures with a Ray Serve deployment.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it; all machines must see it")
    parser.add_argument("photo", type=Path, help="picture that is sent")
    parser.add_argument("--replicas", type=int, default=2, help="processes with a detector (default %(default)s)")
    parser.add_argument("--requests", type=int, default=16, help="to send, eight at a time (default %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="of this machine to listen on (default %(default)s)")
    arguments = parser.parse_args()

    ray.init(log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
    detection = Detection(arguments.engine, "cpu", threads=1)
    # Ray's proxy and controller need a core's share, too.
    service = face_service(detection, Workers(arguments.replicas, cpus=0.5))
    handle = serve.run(service, route_prefix="/detect")
    photo = arguments.photo.read_bytes()

    def ask(_: int) -> str:
        address = f"http://127.0.0.1:{arguments.port}/detect?max_faces=10"
        with urllib.request.urlopen(urllib.request.Request(address, photo), timeout=60) as answer:
            return str(answer.read().decode())

    with ThreadPoolExecutor(8) as callers:
        answers = set(callers.map(ask, range(arguments.requests)))
    print(f"{arguments.requests} answers, {len(answers)} different: {min(answers)}")
    print(f"From another deployment: {handle.detect.remote(photo).result()}")
    serve.shutdown()


if __name__ == "__main__":
    main()
