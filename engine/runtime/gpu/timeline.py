"""Timing the stages of a run on the device."""

from __future__ import annotations

from typing import Any

from engine.runtime.timing import Stages


class Timeline:
    """CUDA events between the stages on a stream."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        """Take the stream; events are created on demand and reused."""
        self._cuda, self._stream = cupy.cuda, stream
        self._events: list[Any] = []
        self._names: list[str] = []

    def begin(self) -> None:
        """Mark the start of the first stage."""
        self._names = []
        self._record()

    def mark(self, stage: str) -> None:
        """Mark the end of a stage and the start of the next one."""
        self._names.append(stage)
        self._record()

    def seconds(self) -> Stages:
        """Return the duration of each stage; the stream must have completed the last mark."""
        elapsed = self._cuda.get_elapsed_time
        return {
            name: elapsed(begin, end) / 1000
            for name, begin, end in zip(self._names, self._events, self._events[1:], strict=False)
        }

    def _record(self) -> None:
        index = len(self._names)
        if index == len(self._events):
            self._events.append(self._cuda.Event())
        self._events[index].record(self._stream)
