"""CUDA graphs: the launches for one input shape, captured once and replayed afterwards."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.gpu.contexts import Context

# Graphs. Batches of 1 to 16 in two sizes fit; with test-time augmentation each image may have another shape.
LIMIT = 32
ATTEMPTS = 2  # to make a graph: what disturbed one capture, such as another thread's work, may not disturb the next

_log = logging.getLogger("engine")


@dataclass
class _Entry:
    """A shape that has run: without a context after its first run, with one in the second, then with a graph."""

    context: Context | None = None
    graph: Any = None
    failures: int = 0


class GraphCache:
    """LRU cache of CUDA graphs by input shape; empty if capture is unsupported.

    A graph uses state of the context that it was captured from, which changes when the context is set to another shape.
    So each graph has a context of its own, which keeps its shape.
    """

    def __init__(self, cupy: Any, stream: Any, *, enabled: bool) -> None:
        """Take the stream for capture and replay."""
        self._stream = stream
        self._enabled, self._has_warned = enabled, False
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        # Other threads may allocate during a capture.
        self._mode = cupy.cuda.runtime.streamCaptureModeThreadLocal
        self._cuda_error = cupy.cuda.runtime.CUDARuntimeError
        self._memory_error = cupy.cuda.memory.OutOfMemoryError

    def replay(self, key: Hashable) -> bool:
        """Launch the graph of `key`; False if there is none, or its launch fails."""
        entry = self._entries.get(key)
        if entry is None or entry.graph is None:
            return False
        self._entries.move_to_end(key)
        try:
            entry.graph.launch(self._stream)
        except self._cuda_error as error:
            _log.info("a CUDA graph could not be launched (%s): it is captured again", error)
            del self._entries[key]
            return False
        return True

    def context(self, key: Hashable, create: Callable[[], Context]) -> Context | None:
        """Return the context to capture the graph of `key` from; None on the first run of a shape.

        Shapes that run only once, as with test-time augmentation, are not worth a context. `create` makes it on the
        second run. None also where no graph could be made.
        """
        if not self._enabled:
            return None
        entry = self._entries.get(key)
        if entry is None:
            while len(self._entries) >= LIMIT:
                self._entries.popitem(last=False)
            self._entries[key] = _Entry()
            return None
        self._entries.move_to_end(key)
        if entry.context is None and entry.failures < ATTEMPTS:
            try:
                entry.context = create()
            except (self._cuda_error, self._memory_error, EngineLoadError) as error:
                self._failed(key, entry, error)
        return entry.context

    def capture(self, key: Hashable) -> None:
        """Capture a run of the context of `key`, if it has one and no graph yet; nothing runs.

        The context must have run at this shape: TensorRT's one-time work per shape cannot be captured. A capture that
        fails is tried once more in the next run; after that the shape is launched without a graph, which is slower.
        """
        entry = self._entries.get(key)
        if entry is None or entry.context is None or entry.graph is not None:
            return
        try:
            entry.graph = self._captured(entry.context)
        except (self._cuda_error, InferenceError) as error:
            self._failed(key, entry, error)

    def clear(self) -> None:
        """Drop the graphs and their contexts."""
        self._entries.clear()

    def _failed(self, key: Hashable, entry: _Entry, error: Exception) -> None:
        entry.failures += 1
        if entry.failures < ATTEMPTS:
            _log.info("no CUDA graph for an input of shape %s (%s): it is tried again", key, error)
            return
        entry.context = None
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "no CUDA graph for an input of shape %s, which takes longer to launch without one: %s", key, error
            )

    def _captured(self, context: Context) -> Any:
        with _without_garbage_collection():
            self._stream.begin_capture(self._mode)
            try:
                context.launch(self._stream.ptr)
            except BaseException:
                self._abandon()
                raise
            return self._stream.end_capture()

    def _abandon(self) -> None:
        """End a failed capture, so that the stream can be used again."""
        with suppress(self._cuda_error):  # end_capture reports the failure again
            self._stream.end_capture()


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep Python from destroying objects: to free their memory with CUDA would end the capture of this thread."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
