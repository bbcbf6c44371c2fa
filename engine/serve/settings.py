"""The settings of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidArgumentError

MIB = 1 << 20


@dataclass(frozen=True)
class ServeSettings:
    """What a service runs, and what it takes from its callers.

    Attributes:
        engine: as TRTRetinaFace takes it: an engine, a name of published weights, or a checkpoint.
        detector: further arguments of TRTRetinaFace.
        host: address to listen on.
        port: to listen on; 0 is any free one.
        workers: processes, each with its own detectors. One that dies is started anew.
        replicas: detectors of a process, which share the weights. On a GPU, two overlap the CPU's work on one batch
            with the GPU's work on another.
        max_delay: longest time in seconds that the first image of a batch waits for others. With 0, a batch is what
            came while the detectors were busy, and a caller who is alone does not wait.
        max_waiting: images that a process has accepted and not answered; further requests get status 503.
        max_body_bytes: of a request.
        max_memory_bytes: that bodies and the decoding of pictures take at most, of all requests in progress in a
            process; further ones get status 503.
        max_pixels: of a picture; one that claims more is refused before it is decoded.
        max_images: in one request.
        max_connections: at a time, of a process.
        timeout: seconds from a request's first byte to its answer.
        drain: seconds in which accepted requests are answered after SIGTERM.
        token: that callers must send as `Authorization: Bearer TOKEN`; None lets everybody in.
        allow_reload: whether `POST /admin/reload` opens the engine's files anew.
    """

    engine: str
    detector: tuple[tuple[str, Any], ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    replicas: int = 1
    max_delay: float = 0.0
    max_waiting: int = 256
    max_body_bytes: int = 32 * MIB
    max_memory_bytes: int = 4096 * MIB
    max_pixels: int = 50_000_000
    max_images: int = 16
    max_connections: int = 1024
    timeout: float = 30.0
    drain: float = 30.0
    token: str | None = None
    allow_reload: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a setting that is out of range."""
        for name, least, most in (
            ("port", 0, 65535),
            ("workers", 1, 256),
            ("replicas", 1, 64),
            ("max_delay", 0, 60),
            ("max_waiting", 1, 1_000_000),
            ("max_body_bytes", 1, 1024 * MIB),
            ("max_memory_bytes", MIB, 1 << 50),
            ("max_pixels", 1, 1 << 28),
            ("max_images", 1, 10_000),
            ("max_connections", 1, 1_000_000),
            ("timeout", 0.001, 86_400),
            ("drain", 0, 86_400),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidArgumentError(f"{name} is {value}, expected {least} to {most}")
        if self.max_images > self.max_waiting:
            raise InvalidArgumentError(
                f"max_images is {self.max_images}, expected at most max_waiting, {self.max_waiting}"
            )
        if self.allow_reload and self.token is None:
            raise InvalidArgumentError("allow_reload needs a token: any page in a browser can send such a request")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InvalidArgumentError("the token is empty or has characters other than printable ASCII")
