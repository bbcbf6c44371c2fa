"""Running an engine on a GPU: a stream, its memory and its execution contexts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import ClosedError, DeviceError, DeviceLostError, EngineLoadError, InvalidArgumentError
from engine.inputs.device_arrays import is_device_array
from engine.runtime.gpu.arrays import CallersStream, names_no_stream, stream_of
from engine.runtime.gpu.contexts import Contexts
from engine.runtime.gpu.graphs import GraphCache
from engine.runtime.gpu.loading import LoadedEngine
from engine.runtime.gpu.memory import Block, DeviceView, Layout, Staging, aligned, layout_of
from engine.runtime.gpu.results import StreamMemory
from engine.runtime.gpu.timeline import Timeline
from engine.runtime.timing import Stopwatch
from engine.sidecar.content import Shape
from engine.types import DeviceDetections, FloatArray, Image, RawDetections

if TYPE_CHECKING:
    from engine.runtime.letterbox import Letterbox

_LEGACY_STREAM = 0


class TensorRTSession:
    """See Session. Threads take turns; clones run concurrently.

    A run queues all of its work on the session's stream, then waits once: upload of the pixels from pinned memory,
    letterbox kernel, which writes the input tensor, network (a CUDA graph from the third run of a shape on), and one
    copy of all outputs, which have fixed sizes.
    """

    def __init__(self, engine: LoadedEngine) -> None:
        """Create contexts and allocate for the largest batch, so that addresses never change."""
        self.device, self.runtime = engine.device, engine.runtime
        self._engine, self._cupy = engine, engine.cupy
        self._one_run = threading.Lock()
        self._closed = False
        cuda = self._cupy.cuda
        with engine.current():
            self._stream = cuda.Stream(non_blocking=True)
            transforms = 3 * np.dtype(np.float32).itemsize * engine.largest[0]
            self._input_bytes = aligned(int(np.prod(engine.largest)) * engine.input_dtype.itemsize)
            self._input = cuda.Memory(self._input_bytes + transforms)
            self._contexts = Contexts(engine, int(self._input.ptr), self._stream.ptr)
            self._outputs = Block(self._cupy, layout_of(engine.outputs, engine.largest[0]).nbytes)
            self._staging = Staging(self._cupy)
            self._graphs = GraphCache(self._cupy, self._stream, enabled=engine.cuda_graphs)
            self._timeline = Timeline(self._cupy, self._stream)
            self._mark = cuda.Event(disable_timing=True)
        self._has_compiled = False

    def detect(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """See Session.detect. Images in device memory are read in place."""
        height, width = letterbox.size
        shape = (len(images), 3, height, width)
        with self._running(f"detecting in {len(images)} images at {height} x {width}", watch=watch):
            self._wait_for_unnamed(images)
            self._timeline.begin()
            sent = iter(self._staging.send([i for i in images if not is_device_array(i)], self._stream.ptr))
            self._timeline.mark("h2d")
            on_device = [image if is_device_array(image) else next(sent) for image in images]
            letterbox.write(on_device, self._input_views(shape), self._engine.input_dtype.name, self._stream.ptr)
            self._timeline.mark("letterbox")
            return self._finish(shape, watch)

    def run(self, batch: FloatArray) -> RawDetections:
        """See Session.run."""
        shape = batch.shape
        with self._running(f"running a batch of shape {shape}"):
            tensor, _ = self._input_views(shape)
            self._timeline.begin()
            self._staging.send_to(tensor.pointer, batch.astype(tensor.dtype, copy=False), self._stream.ptr)
            return self._finish(shape, Stopwatch())

    def detect_device(self, images: Sequence[Any], letterbox: Letterbox, stream: object) -> DeviceDetections:
        """Queue a run between earlier and later work of a caller's stream, without synchronisation.

        Args:
            images: device arrays.
            letterbox: to the network's input.
            stream: as engine.ops takes it.

        Returns:
            Arrays that own their memory, ready in stream order.

        Raises:
            InvalidArgumentError: the stream is being captured.
            InferenceError: it could not be queued.
        """
        height, width = letterbox.size
        shape = (len(images), 3, height, width)
        caller = stream_of(stream, images[0])
        doing = f"detecting in {len(images)} device arrays at {height} x {width}"
        self._refuse_capture(caller, doing)
        with self._running(doing):
            views, layout = self._input_views(shape), layout_of(self._engine.outputs, len(images))
            memory = StreamMemory(self._engine.results, layout.nbytes, caller)
            self._order(caller.handle, self._stream.ptr)
            letterbox.write(images, views, self._engine.input_dtype.name, self._stream.ptr)
            self._launch(shape, layout)
            self._outputs.hand_over(memory.pointer, layout.nbytes, self._stream.ptr)
            self._order(self._stream.ptr, caller.handle)
            self._after_run(shape)
            return DeviceDetections.of(memory.arrays(layout))

    def clone(self) -> TensorRTSession:
        """See Session.clone."""
        self._engine.health.check()
        cuda = self._cupy.cuda
        try:
            return TensorRTSession(self._engine)
        except (cuda.runtime.CUDARuntimeError, cuda.memory.OutOfMemoryError, EngineLoadError) as error:
            self._engine.health.ask(error, self._stream)
            raise DeviceError(f"{self.device} has no memory for another execution context: {error}") from error

    def close(self) -> None:
        """See Session.close."""
        with self._one_run:
            if self._closed:
                return
            self._closed = True
            # On a lost device every call fails; its memory is freed when the process ends.
            with suppress(DeviceLostError), self._engine.health.watch("closing", self._stream), self._engine.current():
                self._stream.synchronize()  # runs for callers' streams may still use the memory
                self._engine.save_compiled()
                self._release()

    def __del__(self) -> None:
        """Wait for runs that still use the memory, and release it."""
        with suppress(Exception):  # the interpreter may be exiting, or __init__ has failed
            if not self._closed and not self._engine.health.is_lost:
                with self._engine.current():
                    self._stream.synchronize()
                    self._release()

    def _release(self) -> None:
        """Destroy what belongs to the device, which must be current."""
        self._graphs.clear()
        del self._contexts, self._input, self._outputs, self._staging

    @contextmanager
    def _running(self, doing: str, *, watch: Stopwatch | None = None) -> Iterator[None]:
        """Lock the session for one run; its device is current."""
        if not self._one_run.acquire(blocking=False):
            self._one_run.acquire()
            if watch is not None:
                watch.lap("queueing")
        try:
            if self._closed:
                raise ClosedError("the session is closed")
            with self._engine.health.watch(doing, self._stream), self._engine.current():
                yield
        finally:
            self._one_run.release()

    def _wait_for_unnamed(self, images: Sequence[Any]) -> None:
        """Wait for the legacy default stream if an array names no stream: most likely it was filled there.

        The session's own stream is non-blocking, so not ordered with it otherwise.
        """
        if any(is_device_array(image) and names_no_stream(image) for image in images):
            self._order(_LEGACY_STREAM, self._stream.ptr)

    def _order(self, first: int, then: int) -> None:
        """Make later work of one stream wait for earlier work of another."""
        runtime = self._cupy.cuda.runtime
        runtime.eventRecord(self._mark.ptr, first)
        runtime.streamWaitEvent(then, self._mark.ptr)

    def _refuse_capture(self, stream: CallersStream, doing: str) -> None:
        """Raise InvalidArgumentError if a stream is being captured.

        A run cannot be part of a caller's graph: the graph would be launched without the session's knowledge, while
        another run uses the same memory.
        """
        with self._engine.health.watch(doing, self._stream), self._engine.current():
            captures = self._cupy.cuda.runtime.streamIsCapturing(stream.handle)
        # Outside the watch, which would synchronise: that may be forbidden during a capture.
        if captures:
            raise InvalidArgumentError(
                "the stream is being captured into a CUDA graph, and a detector's run cannot be part of one. Call "
                "detect_device before the capture or after it: the detector replays a CUDA graph of its own"
            )

    def _finish(self, shape: Shape, watch: Stopwatch) -> RawDetections:
        """Queue the network and the copy of its outputs, and wait for them."""
        layout = layout_of(self._engine.outputs, shape[0])
        self._launch(shape, layout)
        self._timeline.mark("network")
        self._outputs.fetch(layout.nbytes, self._stream.ptr)
        self._timeline.mark("d2h")
        self._stream.synchronize()
        detections = RawDetections.of(layout.copies(self._outputs.host))
        watch.lap_measured(self._timeline.seconds(), rest="d2h")
        self._after_run(shape)
        watch.lap("network")
        return detections

    def _launch(self, shape: Shape, layout: Layout) -> None:
        """Queue the network: its graph if there is one."""
        if not self._graphs.replay(shape):
            context = self._graphs.context(shape, lambda: self._contexts.create(shape)) or self._contexts.plain(shape)
            context.set_to(shape, layout, self._outputs.pointer)
            context.launch(self._stream.ptr)

    def _after_run(self, shape: Shape) -> None:
        """Do what later runs profit from."""
        self._graphs.capture(shape)
        if not self._has_compiled:
            self._has_compiled = True
            self._engine.save_compiled()

    def _input_views(self, shape: Shape) -> tuple[DeviceView, DeviceView]:
        """Return views of the input tensor and of the letterbox transforms, which are not used."""
        if any(extent > limit for extent, limit in zip(shape, self._engine.largest, strict=True)):
            raise InvalidArgumentError(f"an input of shape {shape} is larger than the engine's: {self._engine.largest}")
        pointer = int(self._input.ptr)
        return (
            DeviceView(pointer, shape, self._engine.input_dtype),
            DeviceView(pointer + self._input_bytes, (shape[0], 3), np.float32),
        )
