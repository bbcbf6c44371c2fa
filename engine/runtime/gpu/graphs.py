"""CUDA graphs: an engine's launches for one input shape, recorded once and replayed as one."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from engine.errors import InferenceError

# Graphs kept, the least recently used going first: with test-time augmentation each image may have a shape of its own.
LIMIT = 16

_log = logging.getLogger("engine")


class GraphCache:
    """Graphs by what they were captured for; without any where that does not work."""

    def __init__(self, cupy: Any, stream: Any, *, enabled: bool) -> None:
        """Take the stream to capture and to replay on."""
        self._stream = stream
        self._enabled = enabled
        self._graphs: OrderedDict[Hashable, Any] = OrderedDict()
        # Other threads may allocate meanwhile: only this one's calls concern the capture.
        self._mode = cupy.cuda.runtime.streamCaptureModeThreadLocal
        self._cuda_error = cupy.cuda.runtime.CUDARuntimeError

    def replay(self, key: Hashable) -> bool:
        """Queue the graph of `key`; False where there is none."""
        graph = self._graphs.get(key)
        if graph is None:
            return False
        self._graphs.move_to_end(key)
        graph.launch(self._stream)
        return True

    def capture(self, key: Hashable, launch: Callable[[], None]) -> None:
        """Record what `launch` queues as the graph of `key`, unless there is one; nothing runs.

        It must have run before as it is: TensorRT does some work once for each shape, and that cannot be captured.
        A failure is not the caller's: its launches work, if slower. The cache then captures nothing more.
        """
        if not self._enabled or key in self._graphs:
            return
        while len(self._graphs) >= LIMIT:
            self._graphs.popitem(last=False)
        try:
            self._graphs[key] = self._recorded(launch)
        except (self._cuda_error, InferenceError) as error:
            self._enabled = False
            _log.warning("CUDA graphs are off for this detector, its engine cannot be captured: %s", error)

    def clear(self) -> None:
        """Let the graphs go."""
        self._graphs.clear()

    def _recorded(self, launch: Callable[[], None]) -> Any:
        self._stream.begin_capture(self._mode)
        try:
            launch()
        except BaseException:
            self._abandon()
            raise
        return self._stream.end_capture()

    def _abandon(self) -> None:
        """End a capture that failed: until then the stream can do nothing else."""
        with suppress(self._cuda_error):  # it says once more that the capture failed
            self._stream.end_capture()
