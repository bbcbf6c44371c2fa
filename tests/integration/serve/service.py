"""A service in processes of its own, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_PATIENCE_S = 60


class Served:
    """A running service.

    Attributes:
        url: where it listens.
        log: the entries so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read the log of a process until it answers."""
        self.process, self.log = process, list[dict[str, Any]]()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(lambda: bool(self.url))
        self.wait_for(self.is_ready)

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return httpx.get(f"{self.url}/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def workers(self) -> list[int]:
        """Return the processes that have started to answer, the oldest first."""
        return [entry["process"] for entry in self.log if entry["message"] == "Application startup complete."]

    def wait_for(self, condition: Any) -> None:
        """Wait until something is true."""
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(_PATIENCE_S)
        self._reader.join(_PATIENCE_S)
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"message": line}
            self.log.append(entry)
            if found := re.search(r"running on (http://\S+)", str(entry.get("message"))):
                self.url = found.group(1)


@contextmanager
def serving(engine: Path, *options: str, **variables: str) -> Iterator[Served]:
    """Run `retinaface-trt serve` on the CPU with these options and environment variables."""
    command = [sys.executable, "-m", "engine", "serve", "--engine", str(engine), "--device", "cpu:onnxruntime"]
    process = subprocess.Popen(
        [*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
    )
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
