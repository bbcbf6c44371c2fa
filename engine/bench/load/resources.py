"""Samples the use of CPU, memory and GPU during a measurement."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.bench.load.clock import Clock
from engine.runtime.gpu_usage import gpu_usage
from engine.runtime.workers import Worker, finish

_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Reading:
    """One sample.

    Attributes:
        cpu_cores: cores that this process kept busy since the last sample.
        other_cores: cores that all other processes kept busy.
        memory_mib: resident memory of this process, which holds all engines of the run.
        gpu_percent: share of the time in which the GPU ran a kernel, as NVML reports it; copies do not count. None
            without NVML, and where NVML lacks this reading, as on some partitions (MIG, vGPU) and on Jetson.
        gpu_memory_mib: memory of the GPU that is in use, by all processes.
        gpu_clock_mhz: clock of the GPU's multiprocessors.
        cpu_clock_mhz: as the operating system reports it; None if it does not.
    """

    cpu_cores: float
    other_cores: float
    memory_mib: float
    gpu_percent: float | None
    gpu_memory_mib: float | None
    gpu_clock_mhz: float | None
    cpu_clock_mhz: float | None


@dataclass(frozen=True)
class Usage:
    """Mean and range of one reading over a measurement."""

    mean: float
    least: float
    most: float


class Sampler:
    """A context manager that samples five times a second in a thread of its own."""

    def __init__(self, clock: Clock, device: str) -> None:
        """Prepare to sample; the GPU too if `device`, the engine's, is "cuda:N"."""
        import psutil

        self._psutil, self._process = psutil, psutil.Process()
        self._clock, self._gpu = clock, gpu_usage(device)
        self._readings: list[tuple[float, Reading]] = []
        self._stop = threading.Event()
        self._thread = Worker(self._watch, "bench-resources")

    def __enter__(self) -> Sampler:
        """Start."""
        self._sample()  # the first sample only starts psutil's counters
        self._readings.clear()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self._stop.set()
        finish([self._thread], stop=self._stop.set)

    def usage(self, begin: float, end: float) -> dict[str, Usage]:
        """Summarise each available reading over the samples in [begin, end]."""
        samples = [asdict(reading) for moment, reading in self._readings if begin <= moment <= end]
        usage = {}
        for name in Reading.__dataclass_fields__:
            values = [sample[name] for sample in samples if sample[name] is not None]
            if values:
                usage[name] = Usage(float(np.mean(values)), float(min(values)), float(max(values)))
        return usage

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        psutil = self._psutil
        own = self._process.cpu_percent() / 100
        everybody = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        memory = self._process.memory_info().rss / 2**20
        percent, gpu_memory, gpu_clock = self._gpu() if self._gpu else (None, None, None)
        reading = Reading(own, max(everybody - own, 0.0), memory, percent, gpu_memory, gpu_clock, _cpu_clock(psutil))
        self._readings.append((self._clock.now(), reading))


def _cpu_clock(psutil: Any) -> float | None:
    try:
        clock = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    return float(clock.current) if clock is not None and clock.current else None
