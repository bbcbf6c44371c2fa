"""The detectors of a process, shared by its requests."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.detector import TRTRetinaFace
from engine.errors import DeviceLostError, InvalidArgumentError
from engine.faces import Detections
from engine.inputs import as_image
from engine.runtime.gpu_usage import MIB, GpuUsage, gpu_usage
from engine.runtime.queue import BatchQueue
from engine.runtime.timing import Stages
from engine.serve.memory import Budget, current
from engine.serve.metrics import Metrics
from engine.serve.refusals import Refusal
from engine.serve.settings import ServeSettings
from engine.sidecar import is_engine, read_engine
from engine.threads import available_threads
from engine.types import Image
from engine.untrusted.image_header import claim_of

_log = logging.getLogger("engine.serve")
_AVERAGED_OVER = 20  # images, of the time that Retry-After is made of


@dataclass(frozen=True)
class Options:
    """What a caller asks for; see TRTRetinaFace.detect.

    Attributes:
        timeout: seconds that the caller waits for the answer, at most; None is the service's limit.
    """

    score_threshold: float | None = None
    min_size: float | None = None
    max_faces: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a timeout that is none; the detector checks the rest."""
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise InvalidArgumentError(f"timeout is {self.timeout}, expected seconds above 0")


@dataclass(frozen=True)
class Answer:
    """The faces of one image, uint8 [H, W, 3] in BGR order.

    Attributes:
        stages: seconds of each stage: decode, of a file, with the wait for a thread; and those of Request.
        batch_size: images in the batch.
    """

    image: Image
    faces: Detections
    stages: Stages
    batch_size: int


@dataclass(frozen=True)
class _Opened:
    """A queue and its detectors, which are replaced together."""

    detectors: list[TRTRetinaFace]
    queue: BatchQueue

    def close(self) -> None:
        self.queue.close()
        for detector in self.detectors:
            detector.close()


class Service:
    """Answers images: decodes them in threads of its own, and gathers them into batches."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        """Prepare; start() opens the engine."""
        self.settings, self.metrics = settings, metrics
        self.budget = Budget(settings.max_memory_bytes)
        self.ready = False
        self._in_progress = 0
        self._seconds_per_image = 0.0
        self._opened: _Opened | None = None
        self._usage: GpuUsage | None = None
        self._reloading = asyncio.Lock()
        self.answering: set[asyncio.Task[Any]] = set()
        self._decoders = ThreadPoolExecutor(available_threads(), thread_name_prefix="retinaface-decode")

    async def start(self) -> None:
        """Open the engine and run it once.

        Raises:
            RetinaFaceError: it cannot be opened.
        """
        self._opened = await asyncio.to_thread(self._open)
        self._usage = gpu_usage(self.detector.device)
        self.ready = True

    async def reload(self) -> None:
        """Open the engine's files anew if they have changed, and answer all further images with them.

        Images in progress keep the old engine.

        Raises:
            RetinaFaceError: the files cannot be used; nothing has changed.
        """
        async with self._reloading:
            if await asyncio.to_thread(self._is_open):
                return
            opened = await asyncio.to_thread(self._open)
            self._opened, old = opened, self._opened
            if old is not None:
                await asyncio.to_thread(old.close)

    async def close(self) -> None:
        """Answer what was accepted, then free the device's memory."""
        self.ready = False
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)
        self._decoders.shutdown(cancel_futures=True)

    def device_memory(self) -> int | None:
        """Return the bytes in use on the GPU, by all processes; None where there is none, or no NVML."""
        if self._usage is None:
            return None
        mebibytes = self._usage()[1]
        return None if mebibytes is None else int(mebibytes * MIB)

    @property
    def detector(self) -> TRTRetinaFace:
        """The detector that answers now."""
        if self._opened is None:
            raise Refusal(503, "starting", "the engine is being opened: try again later", 1)
        return self._opened.detectors[0]

    @property
    def description(self) -> str:
        """The model, its number format and what runs it, in words."""
        sidecar, (height, width) = self.detector.sidecar, self.detector.input_size
        return (
            f"{sidecar.config.name}, {sidecar.precision.mode}, input {height} x {width}, {self.detector.runtime} on "
            f"{self.detector.device}"
        )

    @contextmanager
    def admitted(self, images: int) -> Iterator[None]:
        """Count so many images as in progress.

        Raises:
            Refusal: too many are.
        """
        if self._in_progress + images > self.settings.max_waiting:
            raise Refusal(503, "full", "too many images wait: try again later", self._retry_after())
        self._count(images)
        try:
            yield
        finally:
            self._count(-images)

    async def decode(self, content: bytes, name: str) -> Image:
        """Return a picture file's image, uint8 [H, W, 3] in BGR order.

        Raises:
            InvalidArgumentError: it is no picture.
            Refusal: it claims too many pixels, or decoding it takes too much memory; nothing was decoded.
        """
        claim = claim_of(content)
        if claim is not None and claim.pixels > self.settings.max_pixels:
            raise Refusal(
                413,
                "pixels",
                f"{name} claims {claim.pixels:,} pixels, expected at most {self.settings.max_pixels:,}",
            )
        if claim is not None:
            current.get().add(claim.decoding_bytes)
        return await asyncio.get_running_loop().run_in_executor(self._decoders, as_image, content, name)

    async def find(self, content: bytes, name: str, options: Options) -> Answer:
        """Find the faces in a picture file; see decode and answer."""
        begin = time.perf_counter()
        image = await self.decode(content, name)
        decoded = time.perf_counter() - begin
        self.metrics.observe_stages({"decode": decoded})
        answer = await self.answer(image, options)
        return replace(answer, stages={"decode": decoded, **answer.stages})

    async def answer(self, image: Image, options: Options) -> Answer:
        """Find the faces of an image.

        Raises:
            RetinaFaceError: see BatchQueue.submit and TRTRetinaFace.detect.
            TimeoutError: it took longer than the caller waits.
        """
        begin = time.perf_counter()
        if self._opened is None:
            raise Refusal(503, "starting", "the engine is being opened: try again later", 1)
        request = self._opened.queue.submit(
            image,
            score_threshold=options.score_threshold,
            min_size=options.min_size,
            max_faces=options.max_faces,
        )
        try:
            faces = await asyncio.wrap_future(request)
        except DeviceLostError:
            self._give_up()
            raise
        self.metrics.observe(request.stages, request.batch_size, len(faces))
        taken = (time.perf_counter() - begin) / max(self._in_progress, 1)
        self._seconds_per_image += (taken - self._seconds_per_image) / _AVERAGED_OVER
        return Answer(image, faces, request.stages, request.batch_size)

    def _open(self) -> _Opened:
        settings = self.settings
        first = TRTRetinaFace(settings.engine, **dict(settings.detector))
        detectors = [first]
        try:
            detectors += [first.clone() for _ in range(settings.replicas - 1)]
            return _Opened(detectors, BatchQueue(detectors, max_delay=settings.max_delay, max_waiting=None))
        except BaseException:
            for detector in detectors:
                detector.close()
            raise

    def _is_open(self) -> bool:
        """Return whether the engine's files are those that are open."""
        engine = self.settings.engine
        return is_engine(engine) and read_engine(Path(engine)).sidecar == self.detector.sidecar

    def _count(self, images: int) -> None:
        self._in_progress += images
        self.metrics.waiting.set(self._in_progress)

    def _retry_after(self) -> int:
        """Return whole seconds in which what waits should be done."""
        return max(1, math.ceil(self._in_progress * self._seconds_per_image))

    def _give_up(self) -> None:
        """End this process, whose GPU is lost for good; the one above starts another."""
        if self.ready:
            self.ready = False
            _log.critical("the GPU is lost: this process ends")
            os.kill(os.getpid(), 15)
