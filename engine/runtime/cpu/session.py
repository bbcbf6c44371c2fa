"""The CPU session: a network between the operators of engine.ops, on any number of threads."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from engine import ops
from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import EngineLoadError, InferenceError
from engine.mesh.dense.run import BestMeshes, DenseDecoder
from engine.runtime.cpu.load import load_network
from engine.runtime.cpu.protocol import CpuSettings, Runner
from engine.runtime.forking import keep_for_ever, renew_in_child
from engine.runtime.session import DEFAULT_OPTIONS, RuntimeOptions
from engine.runtime.timing import Stages, Stopwatch
from engine.runtime.workers import Worker, finish
from engine.sidecar import EngineFiles, network_path
from engine.threads import check_threads
from engine.types import FloatArray, Image, RawDetections

if TYPE_CHECKING:
    from engine.runtime.letterbox import Letterbox


class CpuNetwork:
    """A typed network followed by decoding and suppression on the CPU.

    A single image uses all threads. In a large batch each image has one thread, from its pixels to its faces. The faces
    of an image never depend on the other images of the batch.
    """

    device = "cpu"

    def __init__(
        self,
        network: bytes,
        config: RetinaFaceConfig,
        thresholds: Thresholds,
        precision: str = "fp32",
        options: RuntimeOptions = DEFAULT_OPTIONS,
        library: str | None = None,
    ) -> None:
        """Load a network.

        Args:
            network: an ONNX file whose outputs are the raw heads, named by config.head_names().
            config: settings of its model.
            thresholds: of decoding and suppression.
            precision: of the network, one of config.formats.PRECISIONS.
            options: input size and threads.
            library: "openvino" or "onnxruntime"; None is OpenVINO if it is installed and can run the network.

        Raises:
            InvalidArgumentError: threads or library is out of range.
            EngineLoadError: the network cannot be loaded.
        """
        self.threads = check_threads(options.threads)
        self._config, self._thresholds = config, thresholds
        self._meshes: BestMeshes | None = None
        settings = CpuSettings(
            tuple(config.head_names()), precision, self.threads, options.input_size, config.mean, config.std
        )
        self._network = load_network(network, settings, library)
        self.runtime = self._network.name
        self._idle: dict[bool, list[Runner]] = {True: [], False: []}
        self._lock = Lock()
        renew_in_child(self)

    def run(self, batch: FloatArray) -> RawDetections:
        """See Session.run."""
        found = []
        with self._runner(alone=True) as runner:
            for image in batch:
                buffer = runner.input(*image.shape[1:])
                buffer[0] = image.transpose(1, 2, 0) if self._network.channels_last else image
                found.append(self._found(self._heads(runner, buffer)))
        return concatenate(found)

    def detect(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """See Session.detect."""
        # With fewer images than threads some would be idle: then the images run in turn on all threads.
        if self.threads > 1 and len(images) >= self.threads:
            return self._detect_in_parallel(images, letterbox, watch)
        with self._runner(alone=True) as runner:
            return concatenate([self._detect_one(image, letterbox, runner, self.threads, watch) for image in images])

    def clone(self) -> CpuNetwork:
        """See Session.clone; the network is shared, as any number of threads may run it."""
        other = copy.copy(self)
        other._idle, other._lock = {True: [], False: []}, Lock()
        renew_in_child(other)
        return other

    def close(self) -> None:
        """See Session.close; the network is freed with the last reference."""
        with self._lock:
            self._idle = {True: [], False: []}

    def start_anew(self) -> None:
        """See Renewable; the network renews itself."""
        keep_for_ever(self._idle)
        self._idle, self._lock = {True: [], False: []}, Lock()

    def _detect_in_parallel(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """Detect with a thread per core, each taking the next image."""
        found: list[RawDetections | None] = [None] * len(images)
        turns = deque(range(len(images)))
        stages: list[Stages] = []
        errors: list[BaseException] = []

        def work() -> None:
            own = Stopwatch()
            try:
                if turns:
                    with self._runner(alone=False) as runner:
                        for turn in _popped(turns):
                            found[turn] = self._detect_one(images[turn], letterbox, runner, 1, own)
            except BaseException as error:  # of any kind: it is raised in the caller's thread
                errors.append(error)
                turns.clear()
            stages.append(own.stages)

        # New threads for each batch: the scheduler starts them on the least busy cores, while it would wake waiting
        # threads on the core of the caller. Unlike an executor they also work after the main thread has ended.
        workers = [Worker(work, "retinaface-cpu") for _ in range(self.threads)]
        finish(workers, stop=turns.clear, start=True)
        if errors:
            raise errors[0]
        watch.lap_parallel(stages)
        return concatenate([raw for raw in found if raw is not None])

    def _detect_one(
        self, image: Image, letterbox: Letterbox, runner: Runner, threads: int, watch: Stopwatch
    ) -> RawDetections:
        buffer = runner.input(*letterbox.size)
        letterbox.fill(buffer, [image], channels_last=self._network.channels_last, threads=threads)
        watch.lap("letterbox")
        heads = self._heads(runner, buffer)
        watch.lap("network")
        raw = self._found(heads)
        watch.lap("post-processing")
        return raw

    def _found(self, heads: Sequence[FloatArray]) -> RawDetections:
        raw = detect(heads, self._config, self._thresholds)
        return raw if self._meshes is None else self._meshes.add_to(raw)

    def _heads(self, runner: Runner, buffer: FloatArray) -> list[FloatArray]:
        try:
            return runner.run()
        except Exception as error:  # the libraries' exceptions share no base
            raise InferenceError(f"{self.runtime} failed on an input of shape {buffer.shape}: {error}") from error

    @contextmanager
    def _runner(self, *, alone: bool) -> Iterator[Runner]:
        """Borrow an idle runner, or a new one."""
        with self._lock:
            idle = self._idle[alone]
            runner = idle.pop() if idle else None
        runner = runner or self._network.runner(alone=alone)
        try:
            yield runner
        finally:
            with self._lock:
                idle.append(runner)


def detect(heads: Sequence[FloatArray], config: RetinaFaceConfig, thresholds: Thresholds) -> RawDetections:
    """Decode the network's outputs, in the order of config.head_names(), and suppress overlapping faces."""
    candidates = ops.decode(config.decoder_heads(heads), **config.decode_arguments(), **thresholds.decode_arguments())
    found = ops.nms(*candidates, **thresholds.nms_arguments(), class_agnostic=config.class_agnostic)
    landmarks, values = config.split_payload(found.payload)
    points = None if landmarks is None else np.ascontiguousarray(landmarks)  # what unletterbox takes
    return RawDetections(found.num_detections, found.boxes, found.scores, points, found.classes, values)


def _popped(turns: deque[int]) -> Iterator[int]:
    """Take turns, as other threads do, until none is left."""
    with suppress(IndexError):
        while True:
            yield turns.popleft()


def concatenate(found: list[RawDetections]) -> RawDetections:
    """Return the detections of single images as a batch."""
    if len(found) == 1:
        return found[0]
    return RawDetections(
        np.concatenate([raw.num_detections for raw in found]),
        np.concatenate([raw.boxes for raw in found]),
        np.concatenate([raw.scores for raw in found]),
        None if found[0].landmarks is None else np.concatenate([raw.landmarks for raw in found]),
        None if found[0].classes is None else np.concatenate([raw.classes for raw in found]),
        {name: np.concatenate([raw.values[name] for raw in found]) for name in found[0].values},
        None if found[0].vertices is None else np.concatenate([raw.vertices for raw in found]),
        None if found[0].colours is None else np.concatenate([raw.colours for raw in found]),
    )


class CpuSession(CpuNetwork):
    """The network that lies beside an engine."""

    def __init__(
        self, files: EngineFiles, options: RuntimeOptions = DEFAULT_OPTIONS, library: str | None = None
    ) -> None:
        """Load it; see CpuNetwork. An EngineLoadError names the file."""
        sidecar = files.sidecar
        options = replace(options, input_size=options.input_size or sidecar.io.input.size.optimum)
        mode = sidecar.precision.mode
        try:
            super().__init__(files.network, sidecar.config, sidecar.thresholds, mode, options, library)
        except EngineLoadError as error:
            raise EngineLoadError(f"{network_path(files.path)}: {error}") from error
        if files.decoder is not None and sidecar.meshes is not None:
            self._meshes = BestMeshes(DenseDecoder(files.decoder), sidecar.meshes)
