"""CUDA graphs: an engine's launches for one input shape, recorded once and replayed as one."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.gpu.contexts import Context

# Graphs kept, the least recently used going first: with test-time augmentation each image may have a shape of its own.
LIMIT = 16

_log = logging.getLogger("engine")


@dataclass
class _Entry:
    """What has come of a shape: nothing after its first run, a context in its second one, a graph after that."""

    context: Context | None = None
    graph: Any = None


class GraphCache:
    """Graphs by what they were captured for; without any where that does not work.

    A graph uses what TensorRT keeps in the context that it was captured from, and changes when that is set to another
    shape: each graph has a context of its own, which is never set to anything else.
    """

    def __init__(self, cupy: Any, stream: Any, *, enabled: bool) -> None:
        """Take the stream to capture and to replay on."""
        self._stream = stream
        self._enabled = enabled
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        # Other threads may allocate meanwhile: only this one's calls concern the capture.
        self._mode = cupy.cuda.runtime.streamCaptureModeThreadLocal
        self._cuda_error = cupy.cuda.runtime.CUDARuntimeError
        self._memory_error = cupy.cuda.memory.OutOfMemoryError

    def replay(self, key: Hashable) -> bool:
        """Queue the graph of `key`; False where there is none, or none that still works."""
        entry = self._entries.get(key)
        if entry is None or entry.graph is None:
            return False
        self._entries.move_to_end(key)
        try:
            entry.graph.launch(self._stream)
        except self._cuda_error as error:
            _log.info("a CUDA graph could not be launched (%s): it is captured anew", error)
            del self._entries[key]
            return False
        return True

    def context(self, key: Hashable, create: Callable[[], Context]) -> Context | None:
        """Return the context whose launches can become the graph of `key`; None where none shall.

        The first time is such a case: shapes that never come again, as with test-time augmentation, are not worth a
        context. The second time `create` makes it.
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
        if entry.context is None:
            try:
                entry.context = create()
            except (self._cuda_error, self._memory_error, EngineLoadError) as error:
                self._give_up(key, error)
        return entry.context

    def capture(self, key: Hashable) -> None:
        """Record a run of the context of `key`, if it has one and no graph yet; nothing runs.

        It must have run before as it is: TensorRT does some work once for each shape, and that cannot be captured.
        A failure is not the caller's: its launches work, if slower. The cache then captures nothing more.
        """
        entry = self._entries.get(key)
        if entry is None or entry.context is None or entry.graph is not None:
            return
        try:
            entry.graph = self._recorded(entry.context)
        except (self._cuda_error, InferenceError) as error:
            self._give_up(key, error)

    def clear(self) -> None:
        """Let the graphs and their contexts go."""
        self._entries.clear()

    def _give_up(self, key: Hashable, error: Exception) -> None:
        self._enabled = False
        self._entries.pop(key)
        _log.warning("CUDA graphs are off for this detector, its engine cannot be captured: %s", error)

    def _recorded(self, context: Context) -> Any:
        self._stream.begin_capture(self._mode)
        try:
            context.launch(self._stream.ptr)
        except BaseException:
            self._abandon()
            raise
        return self._stream.end_capture()

    def _abandon(self) -> None:
        """End a capture that failed: until then the stream can do nothing else."""
        with suppress(self._cuda_error):  # it says once more that the capture failed
            self._stream.end_capture()
