"""What a service counts and times, as Prometheus reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
# The folder through which processes share their numbers; prometheus_client reads the variable when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The numbers of a process; with several processes, those of all of them are shown."""

    def __init__(self) -> None:
        """Start from 0."""
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "retinaface_requests", "Requests by route and status", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "retinaface_request_seconds",
            "Time from a request's headers to the end of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.rejected = Counter("retinaface_rejected", "Requests that were refused", ("reason",), registry=registry)
        self.images = Counter("retinaface_images", "Images in which faces were searched", registry=registry)
        self.faces = Counter("retinaface_faces", "Faces found", registry=registry)
        self.stage_seconds = Histogram(
            "retinaface_stage_seconds",
            "Time of an image in each stage; of the batch's, where a batch shares it",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "retinaface_batch_size", "Images in the batch of an image", buckets=_BATCHES, registry=registry
        )
        self.waiting = Gauge(
            "retinaface_images_in_progress",
            "Images that were accepted and are not answered",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._device_memory = Gauge(
            "retinaface_device_memory_bytes",
            "Memory in use on the GPU, by all processes",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def observe(self, stages: Mapping[str, float], batch_size: int, faces: int) -> None:
        """Count an image that was answered, with the seconds of each stage."""
        self.observe_stages(stages)
        self.batch_size.observe(batch_size)
        self.images.inc()
        self.faces.inc(faces)

    def observe_stages(self, stages: Mapping[str, float]) -> None:
        """Count the seconds of stages."""
        for stage, seconds in stages.items():
            self.stage_seconds.labels(stage).observe(seconds)

    def exposition(self, device_memory: Callable[[], int | None]) -> bytes:
        """Return all numbers in Prometheus's text format.

        Args:
            device_memory: returns the bytes in use on the GPU; None where there is none.
        """
        used = device_memory()
        if used is not None:
            self._device_memory.set(used)
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


def forget_dead_processes() -> None:
    """Leave out the current values of processes that have ended; what they counted stays."""
    folder = os.environ.get(SHARED)
    if folder is None:
        return
    for path in Path(folder).glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
