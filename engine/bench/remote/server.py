"""What a server over the network is to the load generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

PATIENCE_S = 60.0  # for one answer


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

    def close(self) -> None:
        """Close all connections."""


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
