"""A Triton server in processes of its own, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.http

from engine import Detections
from engine.types import Image

_PATIENCE_S = 120
OUTPUTS = ("num_faces", "boxes", "scores", "landmarks")


class Triton:
    """A running server.

    Attributes:
        ports: by protocol: http, grpc, metrics.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, ports: dict[str, int]) -> None:
        """Take a process that was started."""
        self.process, self.ports, self._log = process, ports, log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Wait for the models."""
        end = time.monotonic() + _PATIENCE_S
        with self.client() as client:
            while not is_ready(client):
                assert self.process.poll() is None, self.log
                assert time.monotonic() < end, self.log
                time.sleep(0.1)

    def client(self, protocol: ModuleType = tritonclient.http) -> Any:
        """Return a connection to it, to be closed: Triton waits for all of them when it ends."""
        name = protocol.__name__.rpartition(".")[2]
        return protocol.InferenceServerClient(f"127.0.0.1:{self.ports[name]}")

    def metrics(self) -> str:
        """Return the numbers that it counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics") as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        """End it as a supervisor does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def is_ready(client: Any) -> bool:
    """Return whether a server answers and has its models."""
    try:
        return bool(client.is_server_ready())
    except OSError:
        return False


@contextmanager
def triton(repository: Path, *options: str) -> Iterator[Triton]:
    """Run a repository's start script with this Python."""
    ports = {name: _free_port() for name in ("http", "grpc", "metrics")}
    command = [str(repository / "start"), *(f"--{name}-port={port}" for name, port in ports.items()), *options]
    log = repository.parent / f"{repository.name}.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "PYTHON": sys.executable})
    server = Triton(process, log, ports)
    try:
        yield server
    finally:
        server.stop()


def picture_files(files: list[bytes], protocol: ModuleType = tritonclient.http) -> Any:
    """Return the input `encoded` with these files."""
    tensor = protocol.InferInput("encoded", [len(files), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[file] for file in files], np.object_))
    return tensor


def pixels(images: Image, protocol: ModuleType = tritonclient.http) -> Any:
    """Return the input `image` with these images, [N, H, W, 3]."""
    tensor = protocol.InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    return tensor


def assert_equal(answer: Any, expected: list[Detections]) -> None:
    """Check that an answer has exactly these faces, and zeros behind them."""
    counts = [len(faces) for faces in expected]
    outputs = {name: answer.as_numpy(name) for name in OUTPUTS}
    assert outputs["num_faces"].tolist() == [[count] for count in counts]
    for name in OUTPUTS[1:]:
        assert outputs[name].shape[:2] == (len(expected), max(counts)), name
        for values, faces in zip(outputs[name], expected, strict=True):
            np.testing.assert_array_equal(values[: len(faces)], getattr(faces, name), strict=True)
            assert not values[len(faces) :].any(), name


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
