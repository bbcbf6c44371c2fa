"""Detectors that serve: the queue that requests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from engine.bench.load.client import Server
from engine.runtime.queue import BatchQueue

if TYPE_CHECKING:
    from engine.detector import TRTRetinaFace


@contextmanager
def serve(detector: TRTRetinaFace, max_batch: int, *, max_delay: float, contexts: int) -> Iterator[Server]:
    """Open a queue before a detector and so many clones of it that there are `contexts`; they run at the same time."""
    with ExitStack() as stack:
        clones = [stack.enter_context(detector.clone()) for _ in range(contexts - 1)]
        queue = BatchQueue([detector, *clones], max_batch=max_batch, max_delay=max_delay)
        # What is still unanswered has been given up: nobody waits for it.
        stack.callback(queue.close, cancel=True)
        yield queue
