"""A service in processes of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PATIENCE_S = 120.0
_ADDRESS = re.compile(r"running on http://([\d.]+):(\d+)")


class RunningService:
    """`retinaface-trt serve` on a free port.

    Attributes:
        process: the one above the workers.
        address: host and port.
    """

    def __init__(self, engine: str, options: Sequence[str]) -> None:
        """Start it, and wait until it listens and a worker has opened the engine."""
        command = [sys.executable, "-m", "engine", "serve", "--engine", engine, "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.address = ("", 0)
        self._started = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_workers(self, count: int) -> bool:
        """Wait until so many workers have ever started; return whether they have."""
        end = time.monotonic() + _PATIENCE_S
        while self._started < count and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)
        return self._started >= count

    def terminate(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.terminate()
        return self.process.wait(_PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := _ADDRESS.search(line):
                self.address = found.group(1), int(found.group(2))
            self._started += "Application startup complete" in line
            if '"level": "error"' in line or '"level": "critical"' in line or "Traceback" in line:
                print(line, end="", file=sys.stderr)


@contextmanager
def running(engine: str, options: Sequence[str], workers: int = 1) -> Iterator[RunningService]:
    """Run a service."""
    service = RunningService(engine, [*options, "--workers", str(workers)])
    try:
        if not service.wait_for_workers(workers):
            raise SystemExit("the service did not start")
        yield service
    finally:
        if service.process.poll() is None:
            service.terminate()
