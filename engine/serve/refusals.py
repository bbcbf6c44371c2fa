"""What callers are told when a request cannot be answered."""

from __future__ import annotations

import asyncio

from engine.errors import ClosedError, InvalidArgumentError, QueueFullError, RetinaFaceError


class Refusal(Exception):  # noqa: N818 - it is an answer more than a fault
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        reason: one word, for the metrics.
        retry_after: seconds after which to try again; None says nothing.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: int | None = None) -> None:
        """Keep the message for the caller; it must not say anything about this machine."""
        super().__init__(message)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def refusal_of(error: Exception) -> Refusal:
    """Return what a caller is told about an error of the engine."""
    if isinstance(error, InvalidArgumentError):
        return Refusal(400, "invalid", str(error))
    if isinstance(error, QueueFullError):
        return Refusal(503, "full", "too many images wait: try again later", 1)
    if isinstance(error, ClosedError):
        return Refusal(503, "closing", "the service is closing: try again later", 1)
    if isinstance(error, asyncio.TimeoutError):
        return Refusal(504, "timeout", "the request took longer than it may")
    if isinstance(error, RetinaFaceError):
        return Refusal(500, "engine", "the engine failed; the service's log says how")
    return Refusal(500, "internal", "the service failed; its log says how")
