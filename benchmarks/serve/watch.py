"""What a service's processes use, and whether it says that it is ready."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil

_INTERVAL_S = 1.0
_MIB = 1 << 20


@dataclass(frozen=True)
class Reading:
    """Of all workers together, at a moment in seconds."""

    at: float
    workers: int
    memory_mib: float
    descriptors: int
    ready: bool


class Watch:
    """A thread that reads once a second."""

    def __init__(self, process: psutil.Process, address: tuple[str, int]) -> None:
        """Start."""
        self.readings: list[Reading] = []
        self._process, self._address = process, address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")
        self._begin = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer."""
        found = []
        for child in self._process.children():
            with suppress(psutil.Error):  # it was killed a moment ago
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def summary(self, since: float) -> dict[str, Any]:
        """Compare the first third of the readings after a moment with the last third."""
        kept = [reading for reading in self.readings if reading.at >= since]
        third = max(len(kept) // 3, 1)
        ends = kept[:third], kept[-third:]
        return {
            "memory_mib": [round(float(np.mean([r.memory_mib for r in end])), 1) for end in ends],
            "descriptors": [round(float(np.mean([r.descriptors for r in end])), 1) for end in ends],
            "not_ready": sum(not reading.ready for reading in self.readings),
            "readings": [asdict(reading) for reading in self.readings],
        }

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            memory, descriptors, workers = 0, 0, 0
            for worker in self.workers():
                with suppress(psutil.Error):
                    memory += worker.memory_info().rss
                    descriptors += worker.num_fds()
                    workers += 1
            at = time.monotonic() - self._begin
            self.readings.append(Reading(at, workers, memory / _MIB, descriptors, self._is_ready()))

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=10)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
