"""CUDA errors: which of them leave the session usable, and which end CUDA for the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from engine.errors import CudaError, DeviceLostError, DeviceMemoryError, InferenceError

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class Health:
    """Whether CUDA still works in this process, for all sessions of one engine.

    After most CUDA errors the next call can succeed. After a sticky one, such as an illegal memory access, every later
    call of the process fails, whatever is destroyed and created again.
    """

    def __init__(self, cupy: Any, device: str) -> None:
        """Assume that CUDA works."""
        self._device = device
        self._cuda_error = cupy.cuda.runtime.CUDARuntimeError
        self._memory_error = cupy.cuda.memory.OutOfMemoryError
        self._lost: str | None = None
        self._process = os.getpid()

    @contextmanager
    def watch(self, doing: str, stream: Any) -> Iterator[None]:
        """Raise the errors of the block as InferenceError or one of its kinds.

        Args:
            doing: what the block does, for messages.
            stream: that the block queues work on.

        Raises:
            DeviceLostError: a sticky error, now or before.
            DeviceMemoryError: the device has no memory left.
            InferenceError: another failure; the session stays usable.
        """
        self.check()
        try:
            yield
        except (self._cuda_error, self._memory_error, CudaError, InferenceError) as error:
            self.ask(error, stream)
            if self._is_out_of_memory(error):
                raise DeviceMemoryError(
                    f"{self._device} ran out of memory while {doing}: {error}. The detector stays usable: give it "
                    "fewer or smaller images at a time, or close other detectors"
                ) from error
            if isinstance(error, InferenceError):
                raise
            raise InferenceError(f"CUDA failed while {doing}: {error}. The detector stays usable") from error
        except BaseException:
            with suppress(self._cuda_error):  # the queued work reads memory that the next run writes
                stream.synchronize()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether a sticky error has occurred, or the process was forked."""
        return self._lost is not None or os.getpid() != self._process

    def check(self) -> None:
        """Raise DeviceLostError if a sticky error has occurred, or the process was forked."""
        if os.getpid() != self._process:
            raise DeviceLostError(
                f"{self._device} was opened before this process was forked, and CUDA does not work across a fork. Open "
                "the detector in the new process, and start that with multiprocessing's 'spawn' method"
            )
        if self._lost is not None:
            raise DeviceLostError(
                f"{self._device} is lost to this process ({self._lost}): no detector on it works any more. "
                "Start a new process"
            )

    def ask(self, error: Exception, stream: Any) -> None:
        """Wait for the stream, whose work may still use memory; raise DeviceLostError if the error is sticky."""
        try:
            stream.synchronize()
        except self._cuda_error as after:
            self._lost = str(after) if str(after) in str(error) else f"{error}; {after}"
            try:
                self.check()
            except DeviceLostError as lost:
                raise lost from error

    def _is_out_of_memory(self, error: Exception) -> bool:
        number = getattr(error, "status", getattr(error, "code", None))
        return (
            isinstance(error, self._memory_error) or number == _OUT_OF_MEMORY or "out of memory" in str(error).lower()
        )
