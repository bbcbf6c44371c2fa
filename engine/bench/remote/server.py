"""What a server over the network is to the load generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

PATIENCE_S = 60.0  # for one answer


class _Closable(Protocol):
    def close(self) -> object:
        """Close it."""


T = TypeVar("T", bound=_Closable)


@dataclass(frozen=True)
class Reply:
    """An answer of a server.

    Attributes:
        stages: seconds that the server spent on the request, by stage; empty if it does not say.
        batch_size: images in its batch; 0 if it does not say.
    """

    stages: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 0


@dataclass(frozen=True)
class Totals:
    """What a server has counted since it started.

    Attributes:
        requests: that it has answered.
        seconds: spent on all of them, by stage.
    """

    requests: int
    seconds: Mapping[str, float]


class PerThread(Generic[T]):
    """A connection for each thread, made when it first asks for one."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Make connections, which can be closed, with `make`."""
        self._make = make
        self._of_thread = threading.local()
        self._all: list[tuple[threading.Thread, T]] = []

    def get(self) -> tuple[T, bool]:
        """Return this thread's connection, and whether it is new."""
        known: T | None = getattr(self._of_thread, "connection", None)
        if known is not None:
            return known, False
        made = self._of_thread.connection = self._make()
        self._all.append((threading.current_thread(), made))
        return made, True

    def close(self, *, ended: bool = False) -> None:
        """Close the connections; with `ended` those of threads that have ended."""
        kept = []
        for thread, connection in self._all:
            if ended and thread.is_alive():
                kept.append((thread, connection))
            else:
                connection.close()
        self._all = kept


class RemoteServer(Protocol):
    """A server over the network. Many threads call it at once, each through a connection of its own."""

    description: str

    def ask(self, content: bytes) -> Reply:
        """Send a picture file and wait for its faces.

        Raises:
            RemoteError: the server has refused the request or failed.
            OSError: the connection has failed.
        """

    def totals(self) -> Totals | None:
        """Return what the server has counted; None if it tells each request's own stages, or none at all."""

    def close(self, *, ended: bool = False) -> None:
        """Close all connections; with `ended` those of threads that have ended."""


class RemoteError(Exception):
    """An answer other than faces.

    Attributes:
        failure: its kind, by which failures are counted.
    """

    def __init__(self, status: int | str, text: str) -> None:
        """Keep the status, a number of HTTP or a name of gRPC, and what the server says."""
        self.failure = f"refused ({status})" if status in _REFUSED else f"status {status}"
        super().__init__(f"{self.failure}: {text}")


_REFUSED = (503, "UNAVAILABLE")  # the server has more to do than it takes; by HTTP, by gRPC
