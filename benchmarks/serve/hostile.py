"""Requests that no service should get, and what it may answer."""

from __future__ import annotations

import socket
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PATIENCE_S = 40.0
_LORIS_S = 1.0  # between two bytes
_CLOSED = 0  # the service may also close the connection


@dataclass(frozen=True)
class Hostile:
    """A kind of request.

    Attributes:
        name: of the kind.
        send: sends one to (host, port), with a good picture file to start from; returns the status, 0 if the service
            has closed the connection, or None if the caller did not wait.
        allowed: the answers that are right.
    """

    name: str
    send: Callable[[tuple[str, int], bytes], int | None]
    allowed: tuple[int | None, ...]


def bomb(side: int = 10_000) -> bytes:
    """Return a PNG file of a few bytes that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def _post(path: str, body: bytes, headers: str = "", claimed: int | None = None) -> bytes:
    length = len(body) if claimed is None else claimed
    return f"POST {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n".encode() + body


def _exchange(address: tuple[str, int], request: bytes) -> int:
    """Send a request; return the status, or 0 for a closed connection."""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(request)
            return _status(connection)
        except ConnectionError:
            return _CLOSED


def _status(connection: socket.socket) -> int:
    line = b""
    while b"\r\n" not in line and (part := connection.recv(4096)):
        line += part
    return int(line.split(b" ")[1]) if line else _CLOSED


def _cancelled(address: tuple[str, int], picture: bytes) -> None:
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(_post("/detect", picture))
        time.sleep(0.002)


def _half_a_body(address: tuple[str, int], picture: bytes) -> None:
    with socket.create_connection(address, timeout=PATIENCE_S) as connection, suppress(ConnectionError):
        connection.sendall(_post("/detect", picture[: len(picture) // 2], claimed=len(picture)))


def _slow_loris(address: tuple[str, int], picture: bytes) -> int:
    """Send headers a byte at a time, until the service has enough."""
    begin = time.monotonic()
    with socket.create_connection(address, timeout=_LORIS_S) as connection:
        try:
            connection.sendall(b"POST /detect HTTP/1.1\r\nhost: ")
            while time.monotonic() < begin + PATIENCE_S:
                connection.sendall(b"a")
                with suppress(TimeoutError):
                    return _status(connection)
        except ConnectionError:
            return _CLOSED
    return -1  # it never had enough


_WRONG_JSON = (
    b'{"inputs": [{"name": "encoded", "shape": [1e99], "datatype": "FP32", "data": ["' + b"a" * 1000 + b'"]}]}'
)
HOSTILE = (
    Hostile("truncated", lambda to, file: _exchange(to, _post("/detect", file[: len(file) // 20])), (400,)),
    Hostile("no picture", lambda to, file: _exchange(to, _post("/detect", b"<html>" + file[::-1])), (400,)),
    Hostile("bomb", lambda to, _: _exchange(to, _post("/detect", bomb())), (413,)),
    Hostile("wrong types", lambda to, _: _exchange(to, _post("/v2/models/retinaface/infer", _WRONG_JSON)), (400,)),
    Hostile(
        "10,000 header lines",
        lambda to, file: _exchange(to, _post("/detect", file, "".join(f"x-{i}: {i}\r\n" for i in range(10_000)))),
        (431, _CLOSED),
    ),
    Hostile("body too long", lambda to, _: _exchange(to, _post("/detect", b"", claimed=1 << 40)), (413,)),
    Hostile("slow loris", _slow_loris, (408, _CLOSED)),
    Hostile("cancelled", _cancelled, (None,)),
    Hostile("half a body", _half_a_body, (None,)),
)
