"""Our service and LitServe, each with one worker and the same engine, beside the engine called directly.

    python -m venv peer && peer/bin/pip install litserve
    python -m benchmarks.serve.peers --engine faces.engine --litserve peer/bin/python --output peers.json

Prints the tables of serve_bench.py, and each server's share of the direct throughput and what it adds to the median.
Then each has an open loop at 70 % of its own capacity, the largest of its throughputs. At one rate for all of them, the
slower ones would be overloaded, and their latencies would say no more than how long the measurement was. LitServe's
interpreter must find `engine`. Start Triton, Ray Serve and others yourself, and give their --url.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.serve.service import running
from engine.cli import bench_main

_PATIENCE_S = 120.0
_SHARE = 0.7  # of the capacity, in the open loops


@contextmanager
def litserve(python: str, engine: str, device: str, threads: int) -> Iterator[str]:
    """Run LitServe; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    module = [python, "-m", "benchmarks.serve.litserve_peer"]
    process = subprocess.Popen([*module, engine, device, str(threads), str(port)], start_new_session=True)
    try:
        _wait_until_healthy(process, port)
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers outlive a SIGTERM to the first process
        process.wait(_PATIENCE_S)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:  # it is starting
            time.sleep(0.2)
    raise SystemExit("LitServe did not start")


def shares(points: list[dict[str, Any]], engine: str) -> list[str]:
    """Return a line for each server and load: its throughput and median beside those of the engine in this process."""
    direct = {_load(point): point for point in points if point["engine"] == engine}
    lines = []
    for point in points:
        if point["engine"] == engine or not point["latency_ms"]:
            continue
        alone = direct[_load(point)]
        share = point["throughput_per_s"] / alone["throughput_per_s"]
        added = point["latency_ms"]["p50"] - alone["latency_ms"]["p50"]
        load = "{} {:g}".format(*_load(point))
        lines.append(f"{point['engine']:40} {load:16} {share:7.1%} of the throughput, p50 {added:+.2f} ms")
    return lines


def capacity(points: list[dict[str, Any]], engine: str) -> float:
    """Return the images/s that an engine or a server answered at most."""
    return max(float(point["throughput_per_s"]) for point in points if point["engine"] == engine)


def at_share(point: dict[str, Any]) -> str:
    """Return a line for an open loop."""
    line = f"{point['engine']:40} open loop, {point['load']['value']:.1f}/s, {_SHARE:.0%} of its capacity: "
    if not point["latency_ms"] or point["failed"]:
        return f"{line}{point['failed']} requests failed"
    return line + "p50 {p50:.2f}, p99 {p99:.2f} ms".format(**point["latency_ms"])


def _load(point: dict[str, Any]) -> tuple[str, float]:
    return point["load"]["kind"], point["load"]["value"]


def _measure(command: list[str]) -> tuple[int, dict[str, Any]]:
    """Run serve_bench.py; return its exit status and its results."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        status = bench_main([*command, "--output", str(output)])
        if not output.exists():
            raise SystemExit(status)
        return status, json.loads(output.read_text())


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--engine", required=True)
    add("--device", default="cpu:onnxruntime")
    add("--threads", type=int, default=1, help="of each detector (default 1)")
    add("--litserve", metavar="PYTHON", help="interpreter that has litserve")
    add("--url", action="append", default=[], help="another server, repeatable")
    add("--concurrency", default="1,4,16")
    add("--duration", default="10")
    add("--images", help="folder of pictures (default: generated)")
    add("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    with ExitStack() as stack:
        detector = ["--device", options.device, "--threads", str(options.threads)]
        host, port = stack.enter_context(running(options.engine, detector)).address
        urls = [f"http://{host}:{port}", *options.url]
        if options.litserve:
            urls.append(
                stack.enter_context(litserve(options.litserve, options.engine, options.device, options.threads))
            )
        common = [*detector, "--max-delay-ms", "0", "--duration", options.duration]
        common += [] if options.images is None else ["--images", options.images]
        everybody = {Path(options.engine).stem: ["--engine", options.engine], **{url: ["--url", url] for url in urls}}
        loads = ["--concurrency", options.concurrency]
        status, results = _measure([part for one in everybody.values() for part in one] + loads + common)
        points = results["points"]
        lines = shares(points, Path(options.engine).stem)
        for name, one in everybody.items():
            rate = _SHARE * capacity(points, name)
            if rate:
                failed, alone = _measure([*one, "--rate", f"{rate:.2f}", *common])
                status = status or failed
                points += alone["points"]
                lines.append(at_share(alone["points"][0]))
    if options.output:
        options.output.write_text(json.dumps(results))
    print(*lines, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
